"""The one-time tokens with which users log in to a delegate. A server keeps only their hashes."""

import hashlib
import secrets

SECONDS = 60.0
"""Time for which a token is valid."""

MAX_PER_SUBJECT = 8
MAX_TOKENS = 1_000
"""Tokens that are valid at the same time. Beyond a bound, a new one replaces the oldest."""

_TOKEN_BYTES = 32


def create() -> str:
    """Return a new token."""
    return secrets.token_urlsafe(_TOKEN_BYTES)


def digest(token: str) -> bytes:
    """Return the key of a token, so that a look-up does not depend on how much of a guess is right."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
