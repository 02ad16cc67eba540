"""The log of the supervisor as JSON and for a terminal."""

import io
import json
from datetime import datetime
from typing import Literal

import pytest

from jobworkerd.config import LoggingConfig
from jobworkerd.supervisor.event_log import EventLog


class Terminal(io.StringIO):
    """A stream that claims to be a terminal."""

    def isatty(self) -> bool:
        return True


def written(log_stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in log_stream.getvalue().splitlines()]


def test_json() -> None:
    stream = io.StringIO()
    EventLog(LoggingConfig(), stream).info("serving", address="127.0.0.1:1", count=2, text="a\nb")
    (event,) = written(stream)
    assert datetime.fromisoformat(str(event.pop("timestamp"))).tzinfo
    assert event == {
        "level": "info",
        "event": "serving",
        "process": "supervisor",
        "address": "127.0.0.1:1",
        "count": 2,
        "text": "a\nb",
    }


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        ("debug", ["debug", "info", "warning", "error"]),
        ("info", ["info", "warning", "error"]),
        ("warning", ["warning", "error"]),
        ("error", ["error"]),
    ],
)
def test_levels(level: Literal["debug", "info", "warning", "error"], expected: list[str]) -> None:
    stream = io.StringIO()
    events = EventLog(LoggingConfig(level=level), stream)
    for write in (events.debug, events.info, events.warning):
        write("e")
    events.error("e")
    assert [event["level"] for event in written(stream)] == expected


@pytest.mark.parametrize(
    ("event", "level"),
    [("supervisor restarted", "warning"), ("keeper not replaced", "warning"), ("reload failed", "error")],
)
def test_the_level_of_a_note_of_the_keeper(event: str, level: str) -> None:
    stream = io.StringIO()
    EventLog(LoggingConfig(), stream).note(event, "why")
    (line,) = written(stream)
    assert (line["event"], line["level"], line["reason"]) == (event, level, "why")


def test_an_error_has_a_traceback() -> None:
    stream = io.StringIO()
    try:
        raise ZeroDivisionError("oops")
    except ZeroDivisionError as error:
        EventLog(LoggingConfig(), stream).error("failed", error, job_id="a")
    (event,) = written(stream)
    assert (event["error"], event["job_id"]) == ("ZeroDivisionError('oops')", "a")
    assert "test_an_error_has_a_traceback" in str(event["traceback"])


def test_a_terminal_gets_readable_lines() -> None:
    stream = Terminal()
    events = EventLog(LoggingConfig(), stream)
    events.info("serving", address="127.0.0.1:1")
    events.error("failed", ValueError("oops"))
    first, *rest = stream.getvalue().splitlines()
    assert "[info   ] serving" in first
    assert "address='127.0.0.1:1'" in first
    assert rest[-1] == "" or "oops" in "".join(rest)


@pytest.mark.parametrize(("format_", "is_json"), [("json", True), ("console", False)])
def test_the_configured_format_overrides_the_detection(
    format_: Literal["json", "console"],
    is_json: bool,  # noqa: FBT001 - a column of the table
) -> None:
    stream = Terminal() if is_json else io.StringIO()
    EventLog(LoggingConfig(format=format_), stream).info("serving")
    assert stream.getvalue().startswith("{") == is_json


def test_a_value_without_a_json_type_becomes_text() -> None:
    stream = io.StringIO()
    EventLog(LoggingConfig(), stream).info("e", path=object)
    assert written(stream)[0]["path"] == "<class 'object'>"
