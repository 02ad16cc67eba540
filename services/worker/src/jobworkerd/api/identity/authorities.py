"""Checks client certificates against the authorities in `ca.pem`."""

from cryptography import x509

from jobworkerd.errors import Unauthenticated

_LONGEST_CHAIN = 8
"""Maximum number of certificates between a client certificate and the authority."""


class Authorities:
    """The authorities in one `ca.pem`."""

    def __init__(self, pem: bytes) -> None:
        """Raise ValueError if the file has no valid certificate."""
        self._authorities = x509.load_pem_x509_certificates(pem) if pem else []

    def expiry(self, certificate: bytes, chain: bytes) -> float:
        """Return the earliest expiry of a certificate and its issuers, in seconds since the epoch.

        `chain` has the intermediate certificates of the client, in any order. TLS has checked the chain in
        the handshake, but since then the authority can be replaced and certificates can expire.

        Raises:
            Unauthenticated: none of the authorities issued the certificate.
        """
        current = x509.load_pem_x509_certificate(certificate)
        intermediates = x509.load_pem_x509_certificates(chain) if chain else []
        expires = current.not_valid_after_utc
        for _ in range(_LONGEST_CHAIN):
            if authorities := _issuers(current, self._authorities):
                # An authority that is renewed with the same key can have two certificates in the file.
                return min(expires, max(each.not_valid_after_utc for each in authorities)).timestamp()
            issuers = _issuers(current, intermediates)
            if not issuers:
                break
            current = issuers[0]
            expires = min(expires, current.not_valid_after_utc)
        raise Unauthenticated(
            "the client certificate was not issued by the server's current authority; "
            "use a certificate of this authority"
        )


def _issuers(certificate: x509.Certificate, candidates: list[x509.Certificate]) -> list[x509.Certificate]:
    return [each for each in candidates if _issued(each, certificate)]


def _issued(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except Exception:  # noqa: BLE001 - any error means that it is not the issuer
        return False
    return True
