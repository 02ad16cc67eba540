"""Server certificates that gRPC clients accept and reject."""

import datetime as dt

import pytest
from certificates import authority, issue
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier

from jobworkerd.server_certificate import problem, validity_problem

CA = authority(ec.generate_private_key(ec.SECP256R1()))


def _certificate(
    key: CertificateIssuerPrivateKeyTypes | None = None, *extensions: x509.ExtensionType
) -> x509.Certificate:
    return x509.load_pem_x509_certificate(issue(CA, key, extensions=extensions).certificate)


@pytest.mark.parametrize(
    ("key", "name"),
    [
        (rsa.generate_private_key(65537, 2048), ""),
        (ec.generate_private_key(ec.SECP256R1()), ""),
        (ec.generate_private_key(ec.SECP384R1()), ""),
        (ec.generate_private_key(ec.SECP521R1()), "ECDSA on secp521r1"),
        (ec.generate_private_key(ec.SECP256K1()), "ECDSA on secp256k1"),
        (ec.generate_private_key(ec.SECP224R1()), "ECDSA on secp224r1"),
        (rsa.generate_private_key(65537, 1024), "RSA with 1024 bits"),
        (ed25519.Ed25519PrivateKey.generate(), "Ed25519"),
        (ed448.Ed448PrivateKey.generate(), "Ed448"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_keys(key: CertificateIssuerPrivateKeyTypes, name: str) -> None:
    found = problem(_certificate(key))
    if name:
        assert found.startswith(f"has a key of type {name}, which gRPC clients do not accept; use RSA with")
    else:
        assert not found


USAGE = dict.fromkeys(
    (
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    ),
    False,
)


@pytest.mark.parametrize(
    ("extension", "sentence"),
    [
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), ""),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]), ""),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), "does not allow serverAuth"),
        (x509.KeyUsage(digital_signature=True, **USAGE), ""),
        (x509.KeyUsage(digital_signature=False, **USAGE), "does not allow digitalSignature"),
        (x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), b""), ""),
    ],
)
def test_usages(extension: x509.ExtensionType, sentence: str) -> None:
    found = problem(_certificate(None, extension))
    assert found.startswith(sentence)
    assert bool(found) == bool(sentence)


@pytest.mark.parametrize(
    ("days", "sentence"), [(-2, "is not valid before 20"), (0, ""), (2, "expired at 20")], ids=str
)
def test_validity(days: int, sentence: str) -> None:
    found = validity_problem(_certificate(), dt.datetime.now(dt.UTC) + dt.timedelta(days=days))
    assert found.startswith(sentence)
    assert bool(found) == bool(sentence)
