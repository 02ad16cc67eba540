"""Limits as people write them: plain numbers in the API's own unit, or numbers with a unit of their own."""

import re

__all__ = ["parse_bytes", "parse_mebibytes", "parse_percent"]

NUMBER = r"(?P<whole>[0-9]+)(?:\.(?P<part>[0-9]+))?"
SIZE = re.compile(rf"{NUMBER}(?:(?P<prefix>[KMGT])i?B?|B)", re.IGNORECASE)
CPU = re.compile(rf"{NUMBER}(?P<unit>%|c|m)")
PLAIN = re.compile(r"-?[0-9]+")

# As docker and systemd's MemoryMax= have it, and as this command prints sizes.
BYTES = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
# In thousandths of a core.
CPU_UNITS = {"%": 10, "c": 1_000, "m": 1}


def parse_percent(text: str) -> int:
    """Returns the percent of one core that `150`, `150%`, `1.5c` or `1500m` (thousandths) stand for.

    Raises:
        ValueError: the text is none of these; the message is a sentence for the user.
    """
    if PLAIN.fullmatch(text):
        return int(text)
    found = CPU.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not an amount of CPU such as 150, 150%, 1.5c or 1500m")
    return _amount(found, CPU_UNITS[found["unit"]], 10, "percent of one core")


def parse_mebibytes(text: str) -> int:
    """Returns the MiB that `512`, `512M` or `1.5G` stand for.

    Raises:
        ValueError: the text is none of these; the message is a sentence for the user.
    """
    return _size(text, 2**20, "MiB", "512 (MiB), 512M or 1.5G")


def parse_bytes(text: str) -> int:
    """Returns the bytes that `1048576`, `512K` or `10M` stand for.

    Raises:
        ValueError: the text is none of these; the message is a sentence for the user.
    """
    return _size(text, 1, "bytes", "1048576 (bytes), 512K or 10M")


def _size(text: str, unit: int, unit_name: str, examples: str) -> int:
    if PLAIN.fullmatch(text):
        return int(text)
    found = SIZE.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not a size such as {examples}")
    return _amount(found, BYTES[(found["prefix"] or "").upper()], unit, unit_name)


def _amount(number: re.Match[str], of: int, unit: int, unit_name: str) -> int:
    """Returns a decimal number of `of`, counted in `unit`: exact, so that 0.1G is refused and not rounded."""
    part: str = number["part"] or ""
    scale: int = unit * 10 ** len(part)
    amount, rest = divmod(int(number["whole"] + part) * of, scale)
    if rest:
        raise ValueError(f"{number[0]!r} is not a whole number of {unit_name}; use {amount} or {amount + 1}")
    return amount
