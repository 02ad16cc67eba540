"""Steps of a rollover, and mistakes in their order."""

from pathlib import Path

import pytest
from cryptography import x509

from jobworkerd.certs import files, inspection, issuance, revocation, rollover
from jobworkerd.certs.errors import CertificatesError


def test_both_authorities_are_trusted_until_the_previous_one_is_retired(rolled_over: Path) -> None:
    new, previous = inspection.load_authorities(rolled_over)
    assert inspection.is_issuer(previous, _server(rolled_over))
    issuance.renew_all(rolled_over)
    assert inspection.is_issuer(new, _server(rolled_over))
    rollover.retire(rolled_over, force=False)
    assert inspection.load_authorities(rolled_over) == [new]
    assert not (rolled_over / files.PREVIOUS_KEY).exists()


def test_the_previous_authority_is_not_retired_while_certificates_need_it(rolled_over: Path) -> None:
    issuance.renew(rolled_over, ["server"])
    with pytest.raises(CertificatesError, match=r"^admin\.pem, viewer\.pem: issued by the previous"):
        rollover.retire(rolled_over, force=False)
    assert len(inspection.load_authorities(rolled_over)) == 2
    rollover.retire(rolled_over, force=True)
    assert len(inspection.load_authorities(rolled_over)) == 1


def test_a_second_rollover_needs_the_end_of_the_first_one(rolled_over: Path) -> None:
    with pytest.raises(CertificatesError, match="finish the rollover with: jobworkerd certs retire"):
        rollover.start(rolled_over)


def test_the_only_authority_is_not_retired(certs: Path) -> None:
    with pytest.raises(CertificatesError, match="has only one authority; start with: jobworkerd certs roll"):
        rollover.retire(certs, force=True)


def test_revocations_of_the_new_authority_remain(rolled_over: Path) -> None:
    old = inspection.load_certificate(rolled_over / "viewer.pem")
    revocation.revoke(rolled_over, "viewer.pem")
    issuance.renew_all(rolled_over)
    revocation.revoke(rolled_over, "admin.pem")
    rollover.retire(rolled_over, force=False)
    lists = inspection.load_revocations(rolled_over)
    assert lists
    assert inspection.load_certificate(rolled_over / "admin.pem") in lists
    assert old not in lists


def _server(directory: Path) -> x509.Certificate:
    return inspection.load_certificate(directory / "server.pem")


def test_a_damaged_list_prevents_a_retirement(rolled_over: Path) -> None:
    issuance.renew_all(rolled_over)
    before = (rolled_over / "ca.pem").read_bytes()
    (rolled_over / "crl.pem").write_text("junk")
    with pytest.raises(CertificatesError, match=r"crl\.pem is unusable \(.*\); restore it"):
        rollover.retire(rolled_over, force=False)
    assert (rolled_over / "ca.pem").read_bytes() == before
