"""Creates certificate revocation lists. A revoked certificate stays in its list after its expiry."""

import datetime as dt
import time
from collections.abc import Iterable

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from jobworkerd.certs.authority import CLOCK_SKEW, PEM, Pair, key_identifier
from jobworkerd.revocations import load

LIFETIME = dt.timedelta(days=365)
"""Other programs treat a list as outdated after this time."""


def add(authority: Pair, pem: bytes, serial: int) -> bytes:
    """Return the lists with one more certificate of an authority; lists of others stay the same.

    Raises:
        ValueError: a list is damaged.
    """
    name = authority.certificate.subject
    lists = load(pem)
    kept = {each.serial_number: each for found in lists if found.issuer == name for each in found}
    if serial not in kept:
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(_now())
        kept[serial] = entry.build()
    others = [found for found in lists if found.issuer != name]
    return b"".join(each.public_bytes(PEM) for each in [*others, _sign(authority, kept.values())])


def keep(authority: Pair, pem: bytes) -> bytes:
    """Return the list of one authority, without those of others; an empty list if it has none.

    Raises:
        ValueError: a list is damaged.
    """
    name = authority.certificate.subject
    entries = (each for found in load(pem) if found.issuer == name for each in found)
    return _sign(authority, entries).public_bytes(PEM)


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC).replace(microsecond=0)


def _sign(authority: Pair, entries: Iterable[x509.RevokedCertificate]) -> x509.CertificateRevocationList:
    now, name = _now(), authority.certificate.subject
    builder = x509.CertificateRevocationListBuilder().issuer_name(name)
    builder = builder.last_update(now - CLOCK_SKEW).next_update(now + LIFETIME)
    for each in entries:
        builder = builder.add_revoked_certificate(each)
    # Other programs compare the numbers of two lists of one authority (RFC 5280, section 5.2.3).
    builder = builder.add_extension(x509.CRLNumber(time.time_ns()), critical=False)
    builder = builder.add_extension(key_identifier(authority.certificate), critical=False)
    return builder.sign(authority.key, hashes.SHA256())
