"""The accepted form of host names, for addresses and for certificates."""

import re

# Labels as in RFC 1123, with underscores, which occur in practice.
_HOST_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9_-]{1,63}(?<!-))*")
_MAX_LENGTH = 253


def is_host_name(text: str) -> bool:
    """Return whether a text has the form of a DNS name."""
    return len(text) <= _MAX_LENGTH and _HOST_NAME.fullmatch(text) is not None
