"""What can go wrong with certificates. No cryptography here, so that every command can catch it."""


class CertificatesError(Exception):
    """Raised when certificates cannot be made, written or used; `str()` is the user's sentence."""
