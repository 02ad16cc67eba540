"""Parse and format times."""

import re
from datetime import UTC, datetime, timedelta

import typer
from google.protobuf.timestamp_pb2 import Timestamp

from jobworker_cli.render.units import parse_duration

__all__ = ["elapsed", "format_age", "local_time", "parse_time", "parse_time_option", "to_datetime"]

RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)", re.ASCII)


def parse_time(text: str) -> Timestamp:
    """Parse a time (RFC 3339), or a duration before now by the local clock (`5m`).

    Raises:
        ValueError: the text is neither; the message is for the user.
    """
    time = Timestamp()
    if not RFC_3339.fullmatch(text.upper()):
        try:
            time.FromDatetime(datetime.now(UTC) - parse_duration(text))
        except ValueError:
            raise ValueError(
                f"{text!r} is neither a duration such as 5m nor a time such as 2026-03-01T17:04:05Z"
            ) from None
        return time
    try:
        time.FromJsonString(text.upper())
    except ValueError:
        raise ValueError(f"{text!r} is not a valid date and time") from None
    return time


def parse_time_option(text: str, option: str) -> Timestamp:
    """Parse the value of an option as `parse_time` does."""
    try:
        return parse_time(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None


def to_datetime(time: Timestamp) -> datetime:
    """Return the time in UTC."""
    return time.ToDatetime(tzinfo=UTC)


def local_time(time: Timestamp) -> str:
    """Format the time in the local time zone: `2026-03-01 17:04:05 CET`."""
    return to_datetime(time).astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")


def elapsed(start: Timestamp, end: Timestamp | None = None) -> timedelta:
    """Return the time from `start` to `end` or now; 0 if the local clock is behind the server."""
    until = to_datetime(end) if end is not None else datetime.now(UTC)
    return max(until - to_datetime(start), timedelta())


def format_age(time: Timestamp) -> str:
    """Format the age of a time in whole units: `5s ago`, `2m ago`, `3d ago`."""
    seconds = int(elapsed(time).total_seconds())
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= length:
            return f"{seconds // length}{unit} ago"
    return f"{seconds}s ago"
