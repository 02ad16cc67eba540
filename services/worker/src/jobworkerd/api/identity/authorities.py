"""The authorities of `ca.pem`: which client certificates they issued, and until when those are valid."""

from cryptography import x509

from jobworkerd.errors import Unauthenticated

_LONGEST_CHAIN = 8
"""Certificates between a client's and the authority."""


class Authorities:
    """The certificates in one `ca.pem`."""

    def __init__(self, pem: bytes) -> None:
        """Raises ValueError if the file has no certificate that can be read."""
        self._authorities = x509.load_pem_x509_certificates(pem) if pem else []

    def expiry(self, certificate: bytes, chain: bytes) -> float:
        """Returns when a certificate or one of its issuers expires, in seconds since the epoch.

        `chain` has the intermediate certificates that the client sent, in any order. TLS checked everything
        in the handshake. What can have changed since is the authority, and the time.

        Raises:
            Unauthenticated: none of these authorities issued it.
        """
        current = x509.load_pem_x509_certificate(certificate)
        intermediates = x509.load_pem_x509_certificates(chain) if chain else []
        expires = current.not_valid_after_utc
        for _ in range(_LONGEST_CHAIN):
            if authorities := _issuers(current, self._authorities):
                # Of an authority that was renewed with the same key, the file may hold both certificates.
                return min(expires, max(each.not_valid_after_utc for each in authorities)).timestamp()
            issuers = _issuers(current, intermediates)
            if not issuers:
                break
            current = issuers[0]
            expires = min(expires, current.not_valid_after_utc)
        raise Unauthenticated(
            "the client certificate was not issued by the server's current authority; get a new one"
        )


def _issuers(certificate: x509.Certificate, candidates: list[x509.Certificate]) -> list[x509.Certificate]:
    return [each for each in candidates if _issued(each, certificate)]


def _issued(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except Exception:  # noqa: BLE001 - whatever a candidate lacks, it is not the issuer
        return False
    return True
