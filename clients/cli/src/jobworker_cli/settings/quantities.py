"""Parse amounts: plain numbers in the unit of the API, or numbers with a unit."""

import re

__all__ = ["parse_bytes", "parse_mebibytes", "parse_percent"]

NUMBER = r"(?P<whole>[0-9]+)(?:\.(?P<part>[0-9]+))?"
SIZE = re.compile(rf"{NUMBER}(?:(?P<prefix>[KMGT])i?B?|B)", re.IGNORECASE)
CPU = re.compile(rf"{NUMBER}(?P<unit>%|c|m)")
PLAIN = re.compile(r"-?[0-9]+")

# Powers of 1024, as in docker, MemoryMax= of systemd, and the output of this command.
BYTES = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
# Thousandths of a core.
CPU_UNITS = {"%": 10, "c": 1_000, "m": 1}


def parse_percent(text: str) -> int:
    """Parse an amount of CPU, such as `150`, `150%`, `1.5c` or `1500m`, to percent of one core.

    Raises:
        ValueError: the text is not an amount; the message is for the user.
    """
    if PLAIN.fullmatch(text):
        return int(text)
    match = CPU.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not an amount of CPU such as 150, 150%, 1.5c or 1500m")
    return _amount(match, CPU_UNITS[match["unit"]], 10, "percent of one core")


def parse_mebibytes(text: str) -> int:
    """Parse a size, such as `512` (MiB), `512M` or `1.5G`, to MiB.

    Raises:
        ValueError: the text is not an amount; the message is for the user.
    """
    return _size(text, 2**20, "MiB", "512 (MiB), 512M or 1.5G")


def parse_bytes(text: str) -> int:
    """Parse a size, such as `1048576`, `512K` or `10M`, to bytes.

    Raises:
        ValueError: the text is not an amount; the message is for the user.
    """
    return _size(text, 1, "bytes", "1048576 (bytes), 512K or 10M")


def _size(text: str, unit: int, unit_name: str, examples: str) -> int:
    if PLAIN.fullmatch(text):
        return int(text)
    match = SIZE.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a size such as {examples}")
    return _amount(match, BYTES[(match["prefix"] or "").upper()], unit, unit_name)


def _amount(number: re.Match[str], factor: int, unit: int, unit_name: str) -> int:
    """Convert `number * factor` to `unit`. The result must be exact: 0.1G is refused and not rounded."""
    part: str = number["part"] or ""
    scale: int = unit * 10 ** len(part)
    amount, rest = divmod(int(number["whole"] + part) * factor, scale)
    if rest:
        raise ValueError(f"{number[0]!r} is not a whole number of {unit_name}; use {amount} or {amount + 1}")
    return amount
