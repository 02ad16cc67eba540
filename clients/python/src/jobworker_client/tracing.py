"""The trace that the calls of a client continue.

If the program uses OpenTelemetry, each call is a span (`jobworker_client.telemetry`). Otherwise the calls
belong to the span that the environment variables TRACEPARENT and TRACESTATE name, such as the span of a job.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from google.protobuf.message import Message

__all__ = ["CallTrace", "Metadata", "begin", "from_environment", "span"]

Metadata = tuple[tuple[str, str], ...]

_VARIABLES = {"TRACEPARENT": "traceparent", "TRACESTATE": "tracestate"}


def _ignore(_status: str) -> None:
    """Take the place of the end of a span."""


class CallTrace:
    """The metadata of one call. `end` ends its span with the name of a status, if it has a span."""

    def __init__(self, metadata: Metadata, end: Callable[[str], None] = _ignore) -> None:
        self.metadata = metadata
        self.end = end

    @property
    def has_span(self) -> bool:
        """Whether `end` must be called."""
        return self.end is not _ignore


def begin(method: str) -> CallTrace:
    """Return the trace of a call of a method such as `CreateJob`, which starts now."""
    # A program that exports spans has imported it. Importing it here would slow down all others.
    if "opentelemetry.trace" in sys.modules:
        from jobworker_client import telemetry

        return telemetry.begin(method)
    return CallTrace(tuple(from_environment().items()))


@contextmanager
def span(request: Message) -> Iterator[Metadata]:
    """Yield the metadata of a call, which takes as long as the context.

    The method is that of the request: `CreateJob` for a `CreateJobRequest`.
    """
    trace = begin(request.DESCRIPTOR.name.removesuffix("Request"))
    try:
        yield trace.metadata
    except BaseException as error:
        trace.end(_status(error))
        raise
    trace.end("OK")


def from_environment() -> dict[str, str]:
    """Return the metadata for the trace in the environment variables, which can be missing.

    An invalid value is passed on, because the server ignores it. Metadata is printable ASCII.
    """
    found = {key: os.environ.get(name, "") for name, key in _VARIABLES.items()}
    usable = {key: value for key, value in found.items() if value.isascii() and value.isprintable()}
    return {key: value for key, value in usable.items() if value} if usable.get("traceparent") else {}


def _status(error: BaseException) -> str:
    code = getattr(error, "code", None)
    return str(code().name) if callable(code) else "CANCELLED"
