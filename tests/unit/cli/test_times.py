"""Moments as people write and read them."""

import time
from datetime import UTC, datetime, timedelta

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from jobworker_cli.render.times import local_time, parse_moment, since, to_datetime


def test_a_moment_is_a_duration_before_now() -> None:
    before = datetime.now(UTC)
    moment = to_datetime(parse_moment("1h30m"))
    assert before <= moment + timedelta(minutes=90) <= datetime.now(UTC)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-03-01T17:04:05Z", "2026-03-01T17:04:05Z"),
        ("2026-03-01T17:04:05.123456789Z", "2026-03-01T17:04:05.123456789Z"),
        ("2026-03-01T17:04:05.5+01:00", "2026-03-01T16:04:05.500Z"),
        ("2026-03-01t00:00:00z", "2026-03-01T00:00:00Z"),
    ],
)
def test_a_moment_is_a_time_with_its_zone_to_the_nanosecond(text: str, moment: str) -> None:
    assert parse_moment(text).ToJsonString() == moment


@pytest.mark.parametrize(
    "text",
    ["", "now", "-5m", "2026-03-01", "2026-03-01T17:04:05", "2026-03-01 17:04:05Z", "2026-03-01T17:04:05.Z"],
)
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is neither a duration such as"):
        parse_moment(text)


@pytest.mark.parametrize("text", ["2026-02-30T00:00:00Z", "2026-01-01T24:00:00Z", "0000-01-01T00:00:00Z"])
def test_times_that_no_calendar_has_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a time of the calendar"):
        parse_moment(text)


def test_times_are_local(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    moment = Timestamp()
    moment.FromJsonString("2026-07-01T12:00:00Z")
    try:
        assert local_time(moment) == "2026-07-01 14:00:00 CEST"
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_clock_that_is_behind_the_servers_gives_no_negative_age() -> None:
    future = Timestamp()
    future.FromJsonString("2999-01-01T00:00:00Z")
    assert since(future) == timedelta()
