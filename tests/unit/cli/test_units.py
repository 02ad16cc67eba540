"""Durations, sizes and times as people write and read them."""

import time
from datetime import UTC, datetime, timedelta

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from jobworker_cli.units import duration, local_time, parse_duration, parse_moment, since, size, to_datetime


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("10s", timedelta(seconds=10)),
        ("5m", timedelta(minutes=5)),
        ("1h30m", timedelta(minutes=90)),
        ("1d2h3m4s5ms", timedelta(days=1, hours=2, minutes=3, seconds=4, milliseconds=5)),
        ("90", timedelta(seconds=90)),
        ("0", timedelta()),
        ("0.25", timedelta(milliseconds=250)),
        ("1.5h", timedelta(minutes=90)),
        ("250ms", timedelta(milliseconds=250)),
    ],
)
def test_durations_are_read(text: str, span: timedelta) -> None:
    assert parse_duration(text) == span


@pytest.mark.parametrize("text", ["", "s", "-1", "-1s", "1 s", "1x", "1s ", "1e3", "nan", "inf", "1.", ".5s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration such as"):
        parse_duration(text)


def test_absurd_durations_are_refused() -> None:
    with pytest.raises(ValueError, match="longer than a hundred years"):
        parse_duration("9" * 400)


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


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0ms"), (0.0349, "35ms"), (0.9996, "1s"), (1, "1s"), (1.25, "1.25s"), (59.999, "1m"), (60, "1m"),
        (125, "2m 5s"), (3_600, "1h"), (3_661, "1h 1m"), (273_600, "3d 4h"),
    ],
)  # fmt: skip
def test_durations_are_written_in_two_units(seconds: float, text: str) -> None:
    assert duration(timedelta(seconds=seconds)) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"), (1_023, "1023 B"), (1_024, "1 KiB"), (1_536, "1.5 KiB"), (2**20 - 1, "1 MiB"),
        (2**20, "1 MiB"), (3 * 2**30, "3 GiB"), (2**60, "1048576 TiB"),
    ],
)  # fmt: skip
def test_sizes_are_written_in_binary_units(count: int, text: str) -> None:
    assert size(count) == text


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
