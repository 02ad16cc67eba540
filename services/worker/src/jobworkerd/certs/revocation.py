"""Creates and reads certificate revocation lists (CRL, RFC 5280, section 5).

A file has one list per authority, as PEM blocks. A revoked certificate stays in the list after its expiry.
"""

import datetime as dt
from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from jobworkerd.certs.authority import CLOCK_SKEW, Pair

LIFETIME = dt.timedelta(days=365)
"""Other programs treat a list as outdated after this time."""

_END = b"-----END X509 CRL-----"


class Revocations:
    """The certificates that a file of lists revokes.

    An outdated list still applies, because a revocation is never withdrawn.
    """

    def __init__(self, pem: bytes, authorities: Sequence[x509.Certificate]) -> None:
        """Raise ValueError if a list is damaged or none of the authorities signed it."""
        self._serials: dict[x509.Name, set[int]] = {}
        for found in load(pem):
            _check_signature(found, authorities)
            self._serials.setdefault(found.issuer, set()).update(each.serial_number for each in found)

    def __contains__(self, certificate: x509.Certificate) -> bool:
        # Serial numbers are unique only for one issuer.
        return certificate.serial_number in self._serials.get(certificate.issuer, ())


def load(pem: bytes) -> list[x509.CertificateRevocationList]:
    """Return the lists in a file.

    Raises:
        ValueError: a list is damaged, or bytes follow the last one.
    """
    *blocks, rest = pem.split(_END)
    if rest.strip():
        raise ValueError("the file has no complete X509 CRL block at its end")
    return [x509.load_pem_x509_crl(block + _END) for block in blocks]


def revoke(authority: Pair, pem: bytes, serial: int) -> bytes:
    """Return the lists with one more certificate of an authority; lists of others stay the same.

    Raises:
        ValueError: a list is damaged.
    """
    name = authority.certificate.subject
    lists = load(pem)
    kept = {each.serial_number: each for found in lists if found.issuer == name for each in found}
    now = dt.datetime.now(dt.UTC).replace(microsecond=0)
    if serial not in kept:
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now)
        kept[serial] = entry.build()
    builder = x509.CertificateRevocationListBuilder().issuer_name(name)
    builder = builder.last_update(now - CLOCK_SKEW).next_update(now + LIFETIME)
    for each in kept.values():
        builder = builder.add_revoked_certificate(each)
    signed = builder.sign(authority.key, hashes.SHA256())
    others = [found for found in lists if found.issuer != name]
    return b"".join(each.public_bytes(serialization.Encoding.PEM) for each in [*others, signed])


def _check_signature(found: x509.CertificateRevocationList, authorities: Sequence[x509.Certificate]) -> None:
    for each in authorities:
        # The types of CA keys that `is_signature_valid` accepts are those of all authorities here.
        if each.subject == found.issuer and found.is_signature_valid(each.public_key()):  # type: ignore[arg-type]
            return
    raise ValueError(f"no authority in ca.pem signed the list of {found.issuer.rfc4514_string()}")
