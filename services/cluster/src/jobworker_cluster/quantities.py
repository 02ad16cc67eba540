"""Amounts in the notation of Kubernetes, such as `1500m` and `4Gi`."""

from decimal import Decimal, InvalidOperation
from types import MappingProxyType

_UNITS = MappingProxyType(
    {
        "n": Decimal("1e-9"),
        "u": Decimal("1e-6"),
        "m": Decimal("1e-3"),
        "": Decimal(1),
        "k": Decimal(10**3),
        "M": Decimal(10**6),
        "G": Decimal(10**9),
        "T": Decimal(10**12),
        "P": Decimal(10**15),
        "E": Decimal(10**18),
        "Ki": Decimal(2**10),
        "Mi": Decimal(2**20),
        "Gi": Decimal(2**30),
        "Ti": Decimal(2**40),
        "Pi": Decimal(2**50),
        "Ei": Decimal(2**60),
    }
)


def parse(text: str) -> Decimal:
    """Return the amount; 0 for a text in another notation, which the apiserver would not have accepted."""
    number = text.rstrip("numkKMGTPEi")
    try:
        return Decimal(number) * _UNITS[text[len(number) :]]
    except (InvalidOperation, KeyError):
        return _exponent(text)


def percent(text: str) -> int:
    """Return an amount of CPU in percent of one core."""
    return int(parse(text) * 100)


def mebibytes(text: str) -> int:
    """Return an amount of memory in MiB."""
    return int(parse(text) / _UNITS["Mi"])


def _exponent(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        return Decimal(0)
