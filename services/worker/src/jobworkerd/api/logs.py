"""The API process's own log: structlog on stderr, as JSON or for a terminal."""

import logging
import sys

import structlog

from jobworkerd.config import LoggingConfig


def configure(config: LoggingConfig) -> None:
    """Sets up logging for this process; the keys are those of the supervisor's log."""
    for_terminal = config.format == "console" or (config.format == "auto" and sys.stderr.isatty())
    renderer: structlog.typing.Processor = structlog.processors.JSONRenderer()
    if for_terminal:
        renderer = structlog.dev.ConsoleRenderer()
    processors: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_process,
        renderer,
    ]
    if not for_terminal:
        processors.insert(-1, structlog.processors.format_exc_info)
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[config.level.upper()]
        ),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


def _add_process(
    logger: structlog.typing.WrappedLogger,  # noqa: ARG001 - a processor's signature
    name: str,  # noqa: ARG001
    event: structlog.typing.EventDict,
) -> structlog.typing.EventDict:
    event["process"] = "api"
    return event
