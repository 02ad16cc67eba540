"""The log of the supervisor: one event per line on stderr, as JSON or for a terminal.

The API processes write the same keys with structlog. The supervisor uses the standard library only.
"""

import json
import traceback
from datetime import UTC, datetime
from typing import TextIO

from jobworkerd.config import LoggingConfig
from jobworkerd.keeper.wire import RELOAD_FAILED

_LEVELS = ("debug", "info", "warning", "error")


class EventLog:
    """Writes events of the configured level and above. Fields have JSON types."""

    def __init__(self, config: LoggingConfig, stream: TextIO) -> None:
        """`stream` is stderr as `log_sink` installs it: a write neither blocks nor fails."""
        self._least = _LEVELS.index(config.level)
        self._json = config.format == "json" or (config.format == "auto" and not stream.isatty())
        self._stream = stream

    def debug(self, event: str, **fields: object) -> None:
        """Report an event for developers."""
        self._write("debug", event, fields)

    def info(self, event: str, **fields: object) -> None:
        """Report a normal event."""
        self._write("info", event, fields)

    def warning(self, event: str, **fields: object) -> None:
        """Report an event that the administrator should check."""
        self._write("warning", event, fields)

    def error(self, event: str, error: BaseException | None = None, **fields: object) -> None:
        """Report a failure, with the traceback of an unexpected error."""
        if error:
            fields["error"] = repr(error)
            fields["traceback"] = "".join(traceback.format_exception(error))
        self._write("error", event, fields)

    def note(self, event: str, reason: str) -> None:
        """Report an event of the keeper."""
        self._write("error" if event == RELOAD_FAILED else "warning", event, {"reason": reason})

    def lines_dropped(self, count: int) -> None:
        """Report lines that were dropped at this place because the reader of stderr was too slow."""
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
