"""Damaged certificates, revocation lists and keys."""

from collections.abc import Callable

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from damaged_pem import with_two_names_of_hosts, with_unknown_version, with_untyped_name

from jobworkerd import pem_parser
from jobworkerd.certs import authority, revocation_list
from jobworkerd.certs.roles import Role
from jobworkerd.pem_parser import DamagedPem

ISSUER = authority.make_authority("one")
PEM = authority.issue(ISSUER, name="admin", role=Role.ADMIN).certificate_pem
SERVER = authority.issue(ISSUER, name="server", role=Role.SERVER, hosts=["a"]).certificate_pem
LIST = revocation_list.add(ISSUER, b"", 1)
NO_PEM = [b"", b"junk"]


def test_undamaged_data_is_parsed() -> None:
    assert pem_parser.certificate(PEM).public_bytes(authority.PEM) == PEM
    assert len(pem_parser.certificates(PEM + ISSUER.certificate_pem)) == 2
    assert len(pem_parser.revocation_list(LIST)) == 1
    assert isinstance(pem_parser.private_key(ISSUER.key_pem), authority.PrivateKey)


@pytest.mark.parametrize("parse", [pem_parser.certificate, pem_parser.certificates])
@pytest.mark.parametrize("pem", [*NO_PEM, with_unknown_version(PEM), with_untyped_name(PEM)])
def test_a_damaged_certificate(parse: Callable[[bytes], object], pem: bytes) -> None:
    with pytest.raises(DamagedPem):
        parse(pem)


def test_a_damaged_extension() -> None:
    certificate = pem_parser.certificate(with_two_names_of_hosts(SERVER))
    with pytest.raises(DamagedPem, match="DuplicateExtension"):
        pem_parser.check_extensions(certificate)
    pem_parser.check_extensions(pem_parser.certificate(SERVER))


@pytest.mark.parametrize("pem", [*NO_PEM, with_unknown_version(LIST)])
def test_a_damaged_list(pem: bytes) -> None:
    with pytest.raises(DamagedPem):
        pem_parser.revocation_list(pem)


def _encrypted() -> bytes:
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        authority.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"password"),
    )


@pytest.mark.parametrize("pem", [*NO_PEM, _encrypted()])
def test_a_key_that_cannot_be_used(pem: bytes) -> None:
    with pytest.raises(DamagedPem):
        pem_parser.private_key(pem)


@pytest.mark.parametrize(
    ("error", "reported"),
    [(LookupError("unknown encoding: utf_16_be"), DamagedPem), (MemoryError("exhausted"), MemoryError)],
)
def test_damage_differs_from_an_exhausted_host(
    monkeypatch: pytest.MonkeyPatch, error: Exception, reported: type[Exception]
) -> None:
    def fail(_: bytes) -> x509.Certificate:
        raise error

    monkeypatch.setattr(x509, "load_pem_x509_certificate", fail)
    with pytest.raises(reported, match=str(error)):
        pem_parser.certificate(PEM)
