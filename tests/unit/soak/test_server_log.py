"""Check that the fault test finds errors in the server's log that no fault explains."""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.soak.faults.ledger import Ledger, Window
from tests.soak.faults.server_log import unexplained

NO_SPACE = "OSError(28, 'No space left on device (SQLITE_FULL: database or disk is full)')"


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with closing(Ledger(1, tmp_path / "journal")) as opened:
        yield opened


def line(event: str, level: str = "error", **fields: object) -> str:
    return json.dumps({"timestamp": "1970-01-01T00:01:40Z", "level": level, "event": event} | fields)


@pytest.mark.parametrize(
    "found",
    [
        line("api process ended", exit_code=-11),
        line("cannot start", reason="the port is in use"),
        line("bug", log_id="1"),
        line("fault", step="records", error="OSError(5, 'Input/output error')"),
        line("fault", step="checkpoint", error=NO_SPACE),
        "Traceback (most recent call last):",
    ],
)
def test_an_error_that_no_fault_explains_is_found(ledger: Ledger, found: str) -> None:
    assert list(unexplained([found], ledger)) == [found]


@pytest.mark.parametrize(
    "found",
    [
        line("supervisor restarted", "warning"),
        line("api process ended", exit_code=-9),
        line("cannot start", reason="the API process did not start; see the log lines above"),
        line("fault", step="checkpoint", error=NO_SPACE),
    ],
)
def test_an_error_that_a_fault_explains_is_not_found(ledger: Ledger, found: str) -> None:
    ledger.windows.append(Window(0, 95, 0, 99))
    assert not list(unexplained([found], ledger))
