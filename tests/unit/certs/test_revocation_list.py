"""Certificate revocation lists."""

import datetime as dt
import subprocess
from pathlib import Path
from typing import Never

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from damaged_pem import with_unknown_version

from jobworkerd.certs import authority, inspection, revocation_list
from jobworkerd.certs.revocation_list import add, keep
from jobworkerd.certs.roles import Role
from jobworkerd.revocations import Revocations


@pytest.fixture(scope="module")
def issuers() -> list[authority.Pair]:
    return [authority.make_authority("one"), authority.make_authority("two")]


def test_only_the_certificates_in_the_list_are_revoked(issuers: list[authority.Pair]) -> None:
    first, second, third = (
        authority.issue(issuers[0], name=name, role=Role.ADMIN).certificate for name in "abc"
    )
    pem = add(issuers[0], add(issuers[0], b"", first.serial_number), second.serial_number)
    found = Revocations(pem, [issuers[0].certificate])
    assert [each in found for each in (first, second, third)] == [True, True, False]


def test_each_authority_revokes_its_own_certificates(issuers: list[authority.Pair]) -> None:
    one, two = (authority.issue(issuer, name="a", role=Role.ADMIN).certificate for issuer in issuers)
    authorities = [issuer.certificate for issuer in issuers]
    pem = add(issuers[1], b"", one.serial_number)
    assert one not in Revocations(pem, authorities)
    pem = add(issuers[1], add(issuers[0], pem, one.serial_number), two.serial_number)
    found = Revocations(pem, authorities)
    assert (one in found, two in found) == (True, True)


def test_a_list_of_another_authority_is_refused(issuers: list[authority.Pair]) -> None:
    with pytest.raises(ValueError, match=r"no authority in ca\.pem signed"):
        Revocations(add(issuers[1], b"", 1), [issuers[0].certificate])


def test_a_list_with_the_name_of_an_authority_needs_its_signature(issuers: list[authority.Pair]) -> None:
    forged = authority.Pair(issuers[0].certificate, issuers[1].key)
    with pytest.raises(ValueError, match=r"no authority in ca\.pem signed"):
        Revocations(add(forged, b"", 1), [issuers[0].certificate])


class Exhausted:
    """The certificate of an authority whose key does not fit into the memory."""

    def __init__(self, subject: x509.Name) -> None:
        self.subject = subject

    def public_key(self) -> Never:
        """Fail."""
        raise MemoryError


def test_a_lack_of_memory_is_not_a_wrong_signature(issuers: list[authority.Pair]) -> None:
    exhausted = Exhausted(issuers[0].certificate.subject)
    with pytest.raises(MemoryError):
        Revocations(add(issuers[0], b"", 1), [exhausted])  # type: ignore[list-item]  # the part that is used


@pytest.mark.parametrize("cut", [1, 30, 200])
def test_a_truncated_list_is_refused(issuers: list[authority.Pair], cut: int) -> None:
    pem = add(issuers[0], b"", 1).rstrip()
    with pytest.raises(ValueError, match="CRL"):
        Revocations(pem[:-cut], [issuers[0].certificate])


def test_a_damaged_list_is_refused(issuers: list[authority.Pair]) -> None:
    with pytest.raises(ValueError, match="InvalidVersion"):
        Revocations(with_unknown_version(add(issuers[0], b"", 1)), [issuers[0].certificate])


@pytest.mark.parametrize("contents", [b"", b"nonsense", b"\n"])
def test_a_file_without_a_list_is_refused(issuers: list[authority.Pair], contents: bytes) -> None:
    with pytest.raises(ValueError, match="the file"):
        Revocations(contents, [issuers[0].certificate])


def test_a_delta_list_is_refused(issuers: list[authority.Pair]) -> None:
    one = issuers[0]
    builder = x509.CertificateRevocationListBuilder().issuer_name(one.certificate.subject)
    now = dt.datetime.now(dt.UTC)
    builder = builder.last_update(now).next_update(now + dt.timedelta(days=1))
    builder = builder.add_extension(x509.DeltaCRLIndicator(1), critical=True)
    pem = builder.sign(one.key, hashes.SHA256()).public_bytes(authority.PEM)
    with pytest.raises(ValueError, match=r"critical extension 2\.5\.29\.27; use a complete"):
        Revocations(pem, [one.certificate])


def test_an_outdated_list_still_applies(
    issuers: list[authority.Pair], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = authority.issue(issuers[0], name="a", role=Role.ADMIN).certificate
    monkeypatch.setattr(revocation_list, "LIFETIME", -dt.timedelta(seconds=1))
    pem = add(issuers[0], b"", one.serial_number)
    assert x509.load_pem_x509_crl(pem).next_update_utc < dt.datetime.now(dt.UTC)  # type: ignore[operator]
    assert one in Revocations(pem, [issuers[0].certificate])


def test_lists_of_a_retired_authority_are_dropped(issuers: list[authority.Pair]) -> None:
    one, two = (authority.issue(issuer, name="a", role=Role.ADMIN).certificate for issuer in issuers)
    pem = b""
    for issuer, each in zip(issuers, (one, two), strict=True):
        pem = add(issuer, pem, each.serial_number)
    found = Revocations(keep(issuers[0], pem), [issuers[0].certificate])
    assert (one in found, two in found) == (True, False)


def test_openssl_accepts_the_list(certs: Path) -> None:
    issuer = authority.load_pair((certs / "ca.pem").read_bytes(), (certs / "ca-key.pem").read_bytes())
    revoked = inspection.load_certificate(certs / "viewer.pem")
    (certs / "crl").write_bytes(add(issuer, b"", revoked.serial_number))
    verify = ["openssl", "verify", "-crl_check", "-CAfile", str(certs / "ca.pem")]
    verify += ["-CRLfile", str(certs / "crl")]
    results = [subprocess.run([*verify, certs / f"{name}.pem"], check=False) for name in ("admin", "viewer")]
    assert [each.returncode for each in results] == [0, 2]
