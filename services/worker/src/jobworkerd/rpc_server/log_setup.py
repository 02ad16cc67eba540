"""Sets up the log of the process: one event per line on stderr, in JSON or for a terminal.

The supervisor uses the same keys (supervisor/eventlog.py). Log records of gRPC and asyncio are included.
"""

import logging
import sys
import time
from datetime import UTC, datetime
from functools import partial

import msgspec
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from jobworkerd import log_sink
from jobworkerd.config import LoggingConfig
from jobworkerd.rpc_server.log_lines import EventLogger, LogLines

# Clients choose some values. Without `repr`, their escape sequences would reach the terminal.
_CONSOLE = structlog.dev.ConsoleRenderer(
    repr_native_str=True, exception_formatter=structlog.dev.plain_traceback
)


def configure(config: LoggingConfig, process: str) -> LogLines:
    """Configure structlog and the logging module, and return the destination of their lines.

    Each line has the name of the process.

    It must be called once, while the process can still open the file of stderr.
    """
    sink = log_sink.install()
    as_json = config.format == "json" or (config.format == "auto" and not sys.stderr.isatty())
    lines = LogLines(sink, _render_json if as_json else _render_for_terminal)
    level = logging.getLevelNamesMapping()[config.level.upper()]
    structlog.configure(
        processors=[partial(_collect, process)],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=partial(EventLogger, lines),
        cache_logger_on_first_use=True,
    )
    _configure_standard_logging(level, process, as_json=as_json)
    sink.on_recovery(_lines_dropped)
    return lines


def _lines_dropped(count: int) -> None:
    log: structlog.typing.FilteringBoundLogger = structlog.get_logger()
    log.error("log lines dropped", count=count)


def _collect(
    process: str, logger: WrappedLogger, method: str, event: EventDict
) -> tuple[tuple[EventDict], dict[str, str]]:
    """Add the values of this moment. `_render_json` and `_render_for_terminal` do the rest later."""
    event = structlog.contextvars.merge_contextvars(logger, method, event)
    event["level"] = method
    event["timestamp"] = time.time()
    event["process"] = process
    return (event,), {}


def _render_json(event: EventDict) -> bytes:
    _format_timestamp(event)
    if "exc_info" in event:
        event = structlog.processors.format_exc_info(None, event["level"], event)
    return msgspec.json.encode(event, enc_hook=repr)


def _render_for_terminal(event: EventDict) -> bytes:
    _format_timestamp(event)
    return str(_CONSOLE(None, event["level"], event)).encode("utf-8", "backslashreplace")


def _format_timestamp(event: EventDict) -> None:
    time_of_event = datetime.fromtimestamp(event["timestamp"], UTC)
    event["timestamp"] = time_of_event.isoformat().replace("+00:00", "Z")


def _every_line(process: str) -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        partial(_add_process, process),
    ]


def _ending(*, as_json: bool) -> list[Processor]:
    if as_json:
        return [structlog.processors.format_exc_info, _to_json]
    return [_CONSOLE]


def _add_process(process: str, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    event["process"] = process
    return event


def _to_json(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    return msgspec.json.encode(event, enc_hook=repr).decode()


def _configure_standard_logging(level: int, process: str, *, as_json: bool) -> None:
    """Log warnings and errors of libraries. The level of the server applies if it is higher."""
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_every_line(process),
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_ending(as_json=as_json)],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    handler.addFilter(_is_error)
    logging.basicConfig(handlers=[handler], level=max(level, logging.WARNING))
    logging.captureWarnings(capture=True)


def _is_error(record: logging.LogRecord) -> bool:
    """Return false if gRPC reports that it cannot answer a call because the connection is closed."""
    kind = record.exc_info[0] if record.exc_info else None
    return kind is None or kind.__name__ != "ExecuteBatchError"
