"""Reads certificate revocation lists (CRL, RFC 5280, section 5).

A file has one list per authority, as PEM blocks.
"""

from collections.abc import Sequence

from cryptography import x509

from jobworkerd import pem_parser
from jobworkerd.pem_parser import DamagedPem, damage_reported

_END = b"-----END X509 CRL-----"


class Revocations:
    """The certificates that a file of lists revokes.

    An outdated list still applies: its revocations are valid, and the server cannot request a newer one.
    """

    def __init__(self, pem: bytes, authorities: Sequence[x509.Certificate]) -> None:
        """Read the lists in `pem`.

        Raises:
            ValueError: the file has no list, a list is damaged or incomplete, or none of the authorities
                signed it.
        """
        self._serials: dict[x509.Name, set[int]] = {}
        lists = load(pem)
        if not lists:
            raise ValueError("the file is empty")
        for found in lists:
            _check_scope(found)
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
        raise ValueError("the file does not end with a complete PEM block X509 CRL")
    return [pem_parser.revocation_list(block + _END) for block in blocks]


def _check_scope(found: x509.CertificateRevocationList) -> None:
    """Refuse lists that have only some revocations, or those of other issuers (RFC 5280, section 5.2)."""
    for extension in found.extensions:
        match extension.value:
            case x509.IssuingDistributionPoint(
                only_contains_user_certs=False,
                only_contains_ca_certs=False,
                only_some_reasons=None,
                indirect_crl=False,
                only_contains_attribute_certs=False,
            ):
                continue
        if extension.critical:
            name = extension.oid.dotted_string
            raise ValueError(f"a list has the critical extension {name}; use a complete and direct list")


def _check_signature(found: x509.CertificateRevocationList, authorities: Sequence[x509.Certificate]) -> None:
    if any(_signed(each, found) for each in authorities):
        return
    raise ValueError(f"no authority in ca.pem signed the list of {found.issuer.rfc4514_string()}")


def _signed(authority: x509.Certificate, found: x509.CertificateRevocationList) -> bool:
    try:
        with damage_reported():
            # The types of keys that can sign certificates can sign lists, too.
            return authority.subject == found.issuer and found.is_signature_valid(authority.public_key())  # type: ignore[arg-type]
    except DamagedPem:  # of a key that cannot sign lists
        return False
