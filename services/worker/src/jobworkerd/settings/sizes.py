"""Parses sizes with a unit, such as `512M`."""

import re

__all__ = ["size_in"]

_SIZE = re.compile(r"(?P<whole>[0-9]+)(?:\.(?P<part>[0-9]+))?(?:(?P<prefix>[KMGT])i?B?|B)", re.IGNORECASE)
# Powers of 1024, as in MemoryMax= of systemd and in the options of `jobworker`.
_BYTES = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def size_in(unit: int, value: object) -> object:
    """Return a size in multiples of `unit` bytes. A value without a unit is returned unchanged.

    Raises:
        ValueError: the size is not a multiple of the unit.
    """
    found = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        return value
    part: str = found["part"] or ""
    scale: int = unit * 10 ** len(part)
    amount, rest = divmod(int(found["whole"] + part) * _BYTES[(found["prefix"] or "").upper()], scale)
    if rest:
        raise ValueError("not a whole number of " + ("bytes" if unit == 1 else "MiB"))
    return amount
