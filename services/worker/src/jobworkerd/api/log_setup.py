"""The process's own log: one event per line on stderr, as JSON or for a terminal.

The supervisor writes the same keys (supervisor/eventlog.py). What gRPC and asyncio have to say goes the
same way.
"""

import logging
import sys
from datetime import UTC, datetime
from functools import partial

import msgspec
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from jobworkerd import log_sink
from jobworkerd.config import LoggingConfig
from jobworkerd.log_sink import LogSink


def configure(config: LoggingConfig) -> LogSink:
    """Sets up structlog and the standard library's logging, and returns where their lines go.

    To be called once, while the process may still open what stderr is.
    """
    sink = log_sink.install()
    as_json = config.format == "json" or (config.format == "auto" and not sys.stderr.isatty())
    level = logging.getLevelNamesMapping()[config.level.upper()]
    structlog.configure(
        processors=[_json_line] if as_json else [*_every_line(), *_ending(as_json=as_json)],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=partial(_Stderr, sink),
        cache_logger_on_first_use=True,
    )
    _configure_standard_logging(level, as_json=as_json)
    sink.on_recovery(_lines_dropped)
    return sink


def _lines_dropped(count: int) -> None:
    log: structlog.typing.FilteringBoundLogger = structlog.get_logger()
    log.error("log lines dropped", count=count)


PER_CALL = "per call"
"""`structlog.get_logger(PER_CALL)` is for thousands of lines per second, which are written together, a moment
later. Other lines are written at once: the next event may be the end of the process.
"""


class _Stderr:
    """Where structlog's lines go."""

    def __init__(self, sink: LogSink, *names: str) -> None:
        self._sink = sink
        self._at_once = PER_CALL not in names

    def info(self, line: str | bytes) -> None:
        """Writes a line."""
        self._sink.write(
            (line.encode("utf-8", "backslashreplace") if isinstance(line, str) else line) + b"\n"
        )
        if self._at_once:
            self._sink.flush()

    debug = warning = error = info


def _json_line(logger: WrappedLogger, method: str, event: EventDict) -> bytes:
    """Does what the processors below do one after the other: two lines per RPC are worth it."""
    event = structlog.contextvars.merge_contextvars(logger, method, event)
    event["level"] = method
    event["timestamp"] = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    event["process"] = "api"
    if "exc_info" in event:
        event = structlog.processors.format_exc_info(logger, method, event)
    return msgspec.json.encode(event, enc_hook=repr)


def _every_line() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_process,
    ]


def _ending(*, as_json: bool) -> list[Processor]:
    if as_json:
        return [structlog.processors.format_exc_info, _to_json]
    return [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]


def _add_process(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    event["process"] = "api"
    return event


def _to_json(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    return msgspec.json.encode(event, enc_hook=repr).decode()


def _configure_standard_logging(level: int, *, as_json: bool) -> None:
    """Others' warnings and errors; their debug lines only where ours are wanted, too."""
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_every_line(),
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_ending(as_json=as_json)],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    logging.basicConfig(handlers=[handler], level=max(level, logging.WARNING))
    logging.captureWarnings(capture=True)
