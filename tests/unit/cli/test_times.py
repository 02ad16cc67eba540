"""Tests of parsing and formatting times."""

import time
from datetime import UTC, datetime, timedelta

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from jobworker_cli.render.times import elapsed, local_time, parse_time, to_datetime


def test_duration_is_a_time_before_now() -> None:
    before = datetime.now(UTC)
    parsed = to_datetime(parse_time("1h30m"))
    assert before <= parsed + timedelta(minutes=90) <= datetime.now(UTC)


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("2026-03-01T17:04:05Z", "2026-03-01T17:04:05Z"),
        ("2026-03-01T17:04:05.123456789Z", "2026-03-01T17:04:05.123456789Z"),
        ("2026-03-01T17:04:05.5+01:00", "2026-03-01T16:04:05.500Z"),
        ("2026-03-01t00:00:00z", "2026-03-01T00:00:00Z"),
    ],
)
def test_time_keeps_zone_and_nanoseconds(text: str, parsed: str) -> None:
    assert parse_time(text).ToJsonString() == parsed


@pytest.mark.parametrize(
    "text",
    ["", "now", "-5m", "2026-03-01", "2026-03-01T17:04:05", "2026-03-01 17:04:05Z", "2026-03-01T17:04:05.Z"],
)
def test_invalid_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is neither a duration such as"):
        parse_time(text)


@pytest.mark.parametrize("text", ["2026-02-30T00:00:00Z", "2026-01-01T24:00:00Z", "0000-01-01T00:00:00Z"])
def test_impossible_date_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a valid date and time"):
        parse_time(text)


def test_times_are_printed_in_the_local_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    parsed = Timestamp()
    parsed.FromJsonString("2026-07-01T12:00:00Z")
    try:
        assert local_time(parsed) == "2026-07-01 14:00:00 CEST"
    finally:
        monkeypatch.undo()
        time.tzset()


def test_age_is_not_negative_if_the_local_clock_is_behind() -> None:
    future = Timestamp()
    future.FromJsonString("2999-01-01T00:00:00Z")
    assert elapsed(future) == timedelta()
