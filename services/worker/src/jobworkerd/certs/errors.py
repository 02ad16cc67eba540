"""The error of this package. It does not import cryptography, so that every command can catch it."""


class CertificatesError(Exception):
    """Raised if certificates cannot be created, written or used. `str()` is a sentence for the operator."""
