"""Certificates and keys of servers that no client accepts, with the reason that the server gives."""

import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from certificates import DAY, Issued, issue
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519
from damaged_pem import with_two_names_of_hosts, with_unknown_version

Make = Callable[[Issued], Issued]
"""Returns a pair that the given authority issued."""


def _rsa_pss(_ca: Issued) -> Issued:
    """Return a self-signed pair. The cryptography package cannot create keys of this type."""
    with tempfile.TemporaryDirectory() as name:
        certificate, key = Path(name, "certificate.pem"), Path(name, "key.pem")
        argv = ["openssl", "req", "-x509", "-newkey", "rsa-pss", "-pkeyopt", "rsa_keygen_bits:2048", "-noenc"]
        argv += ["-subj", "/CN=localhost", "-out", str(certificate), "-keyout", str(key)]
        subprocess.run(argv, check=True, capture_output=True)
        return Issued(certificate.read_bytes(), key.read_bytes())


def _encrypted(ca: Issued) -> Issued:
    pair = issue(ca)
    key = serialization.load_pem_private_key(pair.key, password=None)
    encrypted = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"password"),
    )
    return Issued(pair.certificate, encrypted)


def _with_two_names_of_hosts(ca: Issued) -> Issued:
    pair = issue(ca, extensions=[x509.BasicConstraints(ca=False, path_length=None)])
    return Issued(with_two_names_of_hosts(pair.certificate), pair.key)


def _with_unknown_version(ca: Issued) -> Issued:
    pair = issue(ca)
    return Issued(with_unknown_version(pair.certificate), pair.key)


UNUSABLE_PAIRS: Mapping[str, tuple[Make, str]] = MappingProxyType(
    {
        "RSA-PSS": (_rsa_pss, "has a key of type RSA-PSS, which gRPC clients do not accept; use RSA"),
        "Ed25519": (lambda ca: issue(ca, ed25519.Ed25519PrivateKey.generate()), "has a key of type Ed25519"),
        "Ed448": (lambda ca: issue(ca, ed448.Ed448PrivateKey.generate()), "has a key of type Ed448"),
        "P-521": (
            lambda ca: issue(ca, ec.generate_private_key(ec.SECP521R1())),
            "has a key of type ECDSA on secp521r1",
        ),
        "secp256k1": (
            lambda ca: issue(ca, ec.generate_private_key(ec.SECP256K1())),
            "has a key of type ECDSA on secp256k1",
        ),
        "expired": (lambda ca: issue(ca, start=-2 * DAY, end=-DAY), "expired at 20"),
        "early": (lambda ca: issue(ca, start=DAY, end=2 * DAY), "is not valid before 20"),
        "encrypted": (_encrypted, "has an encrypted key in server-key.pem"),
        "two names of hosts": (_with_two_names_of_hosts, "cannot be parsed"),
        "unknown version": (_with_unknown_version, "is damaged"),
        "mismatched": (
            lambda ca: Issued(issue(ca).certificate, issue(ca).key),
            "does not fit the key in server-key.pem",
        ),
    }
)
"""By name: how to make the pair, and the beginning of the reason."""
