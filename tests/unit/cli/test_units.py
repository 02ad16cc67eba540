"""Tests of parsing and formatting durations and sizes."""

from datetime import timedelta

import pytest

from jobworker_cli.render.units import format_duration, format_size, parse_duration


@pytest.mark.parametrize(
    ("text", "duration"),
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
def test_durations_are_parsed(text: str, duration: timedelta) -> None:
    assert parse_duration(text) == duration


@pytest.mark.parametrize("text", ["", "s", "-1", "-1s", "1 s", "1x", "1s ", "1e3", "nan", "inf", "1.", ".5s"])
def test_invalid_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration such as"):
        parse_duration(text)


def test_too_long_duration_is_refused() -> None:
    with pytest.raises(ValueError, match="longer than a hundred years"):
        parse_duration("9" * 400)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0ms"), (0.0349, "35ms"), (0.9996, "1s"), (1, "1s"), (1.25, "1.25s"), (59.999, "1m"), (60, "1m"),
        (125, "2m 5s"), (3_600, "1h"), (3_661, "1h 1m"), (273_600, "3d 4h"),
    ],
)  # fmt: skip
def test_durations_are_formatted_in_two_units(seconds: float, text: str) -> None:
    assert format_duration(timedelta(seconds=seconds)) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"), (1_023, "1023 B"), (1_024, "1 KiB"), (1_536, "1.5 KiB"), (2**20 - 1, "1 MiB"),
        (2**20, "1 MiB"), (3 * 2**30, "3 GiB"), (2**60, "1048576 TiB"),
    ],
)  # fmt: skip
def test_sizes_are_formatted_in_binary_units(count: int, text: str) -> None:
    assert format_size(count) == text
