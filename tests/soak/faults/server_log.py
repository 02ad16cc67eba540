"""The errors in the server's log that the faults of a run explain, and those that nothing explains."""

import json
from collections.abc import Iterator, Sequence
from datetime import datetime

from tests.soak.faults.ledger import Ledger

Event = dict[str, object]

_FULL = "No space left on device"
_KILLED = -9
_API_ENDED = ("the supervisor ended before this process served", "the API process did not start")
_LATE_SECONDS = 2.0
"""The server may report for this long that the disk was full."""


def unexplained(lines: Sequence[str], ledger: Ledger) -> Iterator[str]:
    """Yield the lines that are not events, and the errors that no fault of the run explains."""
    for line in lines:
        event = _event(line)
        if event is None or (event.get("level") == "error" and not _is_explained(event, ledger)):
            yield line.rstrip()


def _event(line: str) -> Event | None:
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) else None


def _is_explained(event: Event, ledger: Ledger) -> bool:
    match event.get("event"):
        case "api process ended":
            return event.get("exit_code") == _KILLED
        case "cannot start":
            return str(event.get("reason")).startswith(_API_ENDED)
        case "fault" | "log":
            time = datetime.fromisoformat(str(event["timestamp"])).timestamp()
            return _FULL in str(event) and ledger.was_full(time - _LATE_SECONDS, time, wall=True)
    return False


def check_log(lines: Sequence[str], ledger: Ledger) -> None:
    """Record each line that the faults of the run do not explain."""
    for line in unexplained(lines, ledger):
        ledger.violation("unexpected line in the server's log", None, line[:2_000])
