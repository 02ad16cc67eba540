"""Parse and format durations and sizes."""

import re
from datetime import timedelta

__all__ = ["format_duration", "format_size", "parse_duration"]

UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3_600, "d": 86_400}
PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
# Far below the limits of timedelta and google.protobuf.Duration, even for sums.
LONGEST = timedelta(days=36_500)


def parse_duration(text: str) -> timedelta:
    """Parse a duration such as `10s`, `5m`, `1h30m`, `250ms`, `1.5h` or `90` (seconds).

    Raises:
        ValueError: the text is not a duration; the message is for the user.
    """
    if re.fullmatch(r"\d+(\.\d+)?", text):
        seconds = float(text)
    elif re.fullmatch(rf"({PART.pattern})+", text):
        seconds = sum(float(number) * UNITS[unit] for number, unit in PART.findall(text))
    else:
        raise ValueError(f"{text!r} is not a duration such as 10s, 5m, 1h30m or 90 (seconds)")
    if seconds > LONGEST.total_seconds():
        raise ValueError(f"{text!r} is longer than a hundred years; use at most 36500d")
    return timedelta(seconds=seconds)


def format_duration(duration: timedelta) -> str:
    """Format a duration in its two largest units: `350ms`, `1.25s`, `2m 5s`, `3d 4h`."""
    seconds = duration.total_seconds()
    if round(seconds, 3) < 1:
        return f"{seconds * 1000:.0f}ms"
    if round(seconds, 2) < 60:
        return f"{seconds:.2f}".rstrip("0").rstrip(".") + "s"
    whole = round(seconds)
    for unit, length, smaller, smaller_length in (
        ("d", 86_400, "h", 3_600),
        ("h", 3_600, "m", 60),
        ("m", 60, "s", 1),
    ):
        if whole >= length:
            rest = whole % length // smaller_length
            return f"{whole // length}{unit} {rest}{smaller}" if rest else f"{whole // length}{unit}"
    raise AssertionError("60 seconds are a minute")


def format_size(count: int) -> str:
    """Format a number of bytes in binary units: `512 B`, `1.5 KiB`, `2 GiB`."""
    if count < 1024:
        return f"{count} B"
    value = float(count)
    for unit in ("KiB", "MiB", "GiB", "TiB"):
        value /= 1024
        if round(value, 1) < 1024 or unit == "TiB":
            break
    return f"{value:.1f}".removesuffix(".0") + f" {unit}"
