"""Moments as people write and read them."""

import re
from datetime import UTC, datetime, timedelta

from google.protobuf.timestamp_pb2 import Timestamp

from jobworker_cli.render.units import parse_duration

__all__ = ["age", "local_time", "parse_moment", "since", "to_datetime"]

RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)", re.ASCII)


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
