"""Checks client certificates against the authorities in `ca.pem` and the lists in `crl.pem`."""

from cryptography import x509

from jobworkerd import pem_parser
from jobworkerd.errors import CertificateRevoked, Unauthenticated
from jobworkerd.revocations import Revocations

_LONGEST_CHAIN = 8
"""Maximum number of certificates between a client certificate and the authority."""


class Authorities:
    """The authorities in one `ca.pem`, and the certificates that they have revoked."""

    def __init__(self, pem: bytes, crl: bytes | None = None) -> None:
        """Read the authorities in `pem`, and their lists in `crl` if there is one.

        Raises:
            ValueError: a file is damaged, or none of the authorities signed a list.
        """
        self._authorities = pem_parser.certificates(pem) if pem else []
        self._revocations = None if crl is None else Revocations(crl, self._authorities)

    def expiry(self, certificate: bytes, chain: bytes) -> float:
        """Return the earliest expiry of a certificate and its issuers, in seconds since the epoch.

        `chain` has the intermediate certificates of the client, in any order. TLS has checked the chain in
        the handshake, but since then the authority can be replaced and certificates can expire.

        Raises:
            CertificateRevoked: the certificate or one of its issuers is revoked.
            DamagedPem: a certificate cannot be parsed.
            Unauthenticated: none of the authorities issued the certificate.
        """
        current = pem_parser.certificate(certificate)
        intermediates = pem_parser.certificates(chain) if chain else []
        self._check_revocation(current)
        expires = current.not_valid_after_utc
        for _ in range(_LONGEST_CHAIN):
            if authorities := self._issuers(current, self._authorities):
                # An authority that is renewed with the same key can have two certificates in the file.
                return min(expires, max(each.not_valid_after_utc for each in authorities)).timestamp()
            issuers = self._issuers(current, intermediates)
            if not issuers:
                break
            current = issuers[0]
            expires = min(expires, current.not_valid_after_utc)
        raise Unauthenticated(
            "the client certificate was not issued by the server's current authority; "
            "use a certificate of this authority"
        )

    def _issuers(
        self, certificate: x509.Certificate, candidates: list[x509.Certificate]
    ) -> list[x509.Certificate]:
        """Return the candidates that issued a certificate. Each of them must be unrevoked."""
        issuers = [each for each in candidates if _issued(each, certificate)]
        for each in issuers:
            self._check_revocation(each)
        return issuers

    def _check_revocation(self, certificate: x509.Certificate) -> None:
        if self._revocations is not None and certificate in self._revocations:
            raise CertificateRevoked(certificate.subject.rfc4514_string(), f"{certificate.serial_number:x}")


def _issued(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except Exception:  # noqa: BLE001 - any error means that it is not the issuer
        return False
    return True
