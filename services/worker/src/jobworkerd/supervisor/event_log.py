"""The supervisor's own log: one event a line on stderr, as JSON or for a terminal.

The API processes write the same keys with structlog; this program carries the standard library only.
"""

import json
import traceback
from datetime import UTC, datetime
from typing import TextIO

from jobworkerd.config import LoggingConfig

_LEVELS = ("debug", "info", "warning", "error")


class EventLog:
    """Writes events of a level or above; fields are what JSON has."""

    def __init__(self, config: LoggingConfig, stream: TextIO) -> None:
        """`stream` is stderr as `log_sink` installs it: a write neither waits nor fails."""
        self._least = _LEVELS.index(config.level)
        self._json = config.format == "json" or (config.format == "auto" and not stream.isatty())
        self._stream = stream

    def debug(self, event: str, **fields: object) -> None:
        """Says what only a developer wants to know."""
        self._write("debug", event, fields)

    def info(self, event: str, **fields: object) -> None:
        """Says what happened."""
        self._write("info", event, fields)

    def warning(self, event: str, **fields: object) -> None:
        """Says what the administrator should look at."""
        self._write("warning", event, fields)

    def error(self, event: str, error: BaseException | None = None, **fields: object) -> None:
        """Says what failed, with the traceback of an error that nobody expected."""
        if error:
            fields["error"] = repr(error)
            fields["traceback"] = "".join(traceback.format_exception(error))
        self._write("error", event, fields)

    def lines_dropped(self, count: int) -> None:
        """Reports lines that the reader of stderr was too slow for; they are missing at this place."""
        self.error("log lines dropped", count=count)

    def _write(self, level: str, event: str, fields: dict[str, object]) -> None:
        if _LEVELS.index(level) < self._least:
            return
        timestamp = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        head = {"timestamp": timestamp, "level": level, "event": event, "process": "supervisor"}
        line = json.dumps(head | fields, default=str) if self._json else _for_terminal(head, fields)
        self._stream.write(line + "\n")


def _for_terminal(head: dict[str, str], fields: dict[str, object]) -> str:
    pairs = " ".join(f"{name}={value!r}" for name, value in fields.items() if name != "traceback")
    line = f"{head['timestamp']} [{head['level']:<7}] {head['event']:<24} {pairs}"
    return f"{line}\n{fields['traceback']}" if "traceback" in fields else line
