"""Sets up the log of the agent: one event per line on stderr, in JSON or for a terminal.

A thread writes the lines, so that a stopped reader of stderr does not stop the lease. The keys are those of
the server's log.
"""

import logging
import queue
import sys
from logging.handlers import QueueHandler, QueueListener

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

_MAX_LINES = 10_000
"""Lines that wait for the reader of stderr. Further lines are dropped."""


class DroppingHandler(QueueHandler):
    """Drops a line if too many wait, and reports how many it dropped before the next one."""

    def __init__(self, lines: "queue.Queue[logging.LogRecord]") -> None:
        super().__init__(lines)
        self._dropped = 0

    def enqueue(self, record: logging.LogRecord) -> None:
        """Pass a line to the thread that writes it."""
        try:
            if self._dropped:
                self.queue.put_nowait(_lines_dropped(self._dropped))
                self._dropped = 0
            self.queue.put_nowait(record)
        except queue.Full:
            self._dropped += 1

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """Return the line as it is, because the thread is in the same process."""
        return record


def configure(level: str, log_format: str) -> QueueListener:
    """Configure structlog and the logging module, and return the listener to stop at the end.

    `log_format` is `json`, `console` or `auto`: JSON unless stderr is a terminal.
    """
    as_json = log_format == "json" or (log_format == "auto" and not sys.stderr.isatty())
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_process,
    ]
    stderr = logging.StreamHandler(sys.stderr)
    stderr.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_rendering(as_json=as_json),
            ],
        )
    )
    lines: queue.Queue[logging.LogRecord] = queue.Queue(_MAX_LINES)
    listener = QueueListener(lines, stderr)
    logging.basicConfig(handlers=[DroppingHandler(lines)], level=max(number, logging.WARNING), force=True)
    logging.getLogger("jobworker_agent").setLevel(number)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=lambda *_: logging.getLogger("jobworker_agent"),
        cache_logger_on_first_use=True,
    )
    listener.start()
    return listener


def _lines_dropped(count: int) -> logging.LogRecord:
    fields = {"name": __name__, "msg": f"log lines dropped: {count}"}
    return logging.makeLogRecord({**fields, "levelno": logging.ERROR, "levelname": "ERROR"})


def _rendering(*, as_json: bool) -> list[Processor]:
    if as_json:
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=repr)]
    # Users choose some values. Without `repr`, their escape sequences would reach the terminal.
    renderer = structlog.dev.ConsoleRenderer(
        repr_native_str=True, exception_formatter=structlog.dev.plain_traceback
    )
    return [renderer]


def _add_process(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    event["process"] = "agent"
    return event
