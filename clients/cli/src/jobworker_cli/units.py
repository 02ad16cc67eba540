"""Numbers as people write and read them: durations, sizes, times."""

import re
from datetime import UTC, datetime, timedelta

from google.protobuf.timestamp_pb2 import Timestamp

__all__ = [
    "age",
    "duration",
    "local_time",
    "parse_duration",
    "parse_moment",
    "since",
    "size",
    "to_datetime",
]

UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3_600, "d": 86_400}
PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
# Durations and their sums stay far inside what timedelta and google.protobuf.Duration can hold.
LONGEST = timedelta(days=36_500)
RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)", re.ASCII)


def parse_duration(text: str) -> timedelta:
    """Returns the duration that `10s`, `5m`, `1h30m`, `250ms`, `1.5h` or `90` (seconds) stands for.

    Raises:
        ValueError: the text is none of these; the message is a sentence for the user.
    """
    if re.fullmatch(r"\d+(\.\d+)?", text):
        seconds = float(text)
    elif re.fullmatch(rf"({PART.pattern})+", text):
        seconds = sum(float(number) * UNITS[unit] for number, unit in PART.findall(text))
    else:
        raise ValueError(f"{text!r} is not a duration such as 10s, 5m, 1h30m or 90 (seconds)")
    if seconds > LONGEST.total_seconds():
        raise ValueError(f"{text!r} is longer than a hundred years")
    return timedelta(seconds=seconds)


def parse_moment(text: str) -> Timestamp:
    """Returns the moment that is a duration ago, by our clock (`5m`), or has a name (RFC 3339).

    Raises:
        ValueError: the text is neither; the message is a sentence for the user.
    """
    moment = Timestamp()
    if not RFC_3339.fullmatch(text.upper()):
        try:
            moment.FromDatetime(datetime.now(UTC) - parse_duration(text))
        except ValueError:
            raise ValueError(
                f"{text!r} is neither a duration such as 5m nor a time such as 2026-03-01T17:04:05Z"
            ) from None
        return moment
    try:
        moment.FromJsonString(text.upper())
    except ValueError:
        raise ValueError(f"{text!r} is not a time of the calendar") from None
    return moment


def duration(span: timedelta) -> str:
    """Returns the duration in its two greatest units: `350ms`, `1.25s`, `2m 5s`, `3d 4h`."""
    seconds = span.total_seconds()
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


def size(count: int) -> str:
    """Returns a number of bytes in binary units: `512 B`, `1.5 KiB`, `2 GiB`."""
    if count < 1024:
        return f"{count} B"
    value = float(count)
    for unit in ("KiB", "MiB", "GiB", "TiB"):
        value /= 1024
        if round(value, 1) < 1024 or unit == "TiB":
            break
    return f"{value:.1f}".removesuffix(".0") + f" {unit}"


def to_datetime(time: Timestamp) -> datetime:
    """Returns the moment, in UTC."""
    return time.ToDatetime(tzinfo=UTC)


def local_time(time: Timestamp) -> str:
    """Returns the moment in our own time zone: `2026-03-01 17:04:05 CET`."""
    return to_datetime(time).astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")


def since(start: Timestamp, end: Timestamp | None = None) -> timedelta:
    """Returns how long it is from one moment to the other, or to now; 0 where our clock is behind."""
    until = to_datetime(end) if end is not None else datetime.now(UTC)
    return max(until - to_datetime(start), timedelta())


def age(time: Timestamp) -> str:
    """Returns how long ago a moment was, in whole units: `5s ago`, `2m ago`, `3d ago`."""
    seconds = int(since(time).total_seconds())
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= length:
            return f"{seconds // length}{unit} ago"
    return f"{seconds}s ago"
