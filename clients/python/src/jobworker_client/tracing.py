"""The trace that the calls of a client continue.

If the program uses OpenTelemetry, each call is a span (`jobworker_client.telemetry`). Otherwise the calls
belong to the span that the environment variables TRACEPARENT and TRACESTATE name, such as the span of a job.
"""

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from google.protobuf.message import Message

__all__ = ["CallTrace", "Metadata", "begin", "ended_on_error", "from_environment", "span"]

Metadata = tuple[tuple[str, str], ...]

_VARIABLES = {"TRACEPARENT": "traceparent", "TRACESTATE": "tracestate"}

_MAX_VALUE = 512
"""Characters of a value. The server drops a longer one, and gRPC fails calls with much metadata."""

_log = logging.getLogger(__name__)


class CallTrace:
    """The metadata of one call, and its span if it has one."""

    def __init__(self, metadata: Metadata, end: Callable[[str], None] | None = None) -> None:
        self.metadata = metadata
        self._end = end

    @property
    def has_span(self) -> bool:
        """Whether `end` must be called."""
        return self._end is not None

    def end(self, status: str) -> None:
        """End the span, if there is one, with the name of a status. A fault of the span is only logged."""
        if self._end is None:
            return
        try:
            self._end(status)
        except Exception as error:  # noqa: BLE001 - a processor of the program can raise any
            _log.warning("the span of a call is lost: %r", error)


def begin(method: str) -> CallTrace:
    """Return the trace of a call of a method such as `CreateJob`, which starts now.

    A fault of OpenTelemetry is only logged, and the call continues the trace of the environment.
    """
    # A program that exports spans has imported it. Importing it here would slow down all others.
    if "opentelemetry.trace" in sys.modules:
        try:
            from jobworker_client import telemetry

            return telemetry.begin(method)
        except Exception as error:  # noqa: BLE001 - a processor or a propagator can raise any
            _log.warning("a call of %s has no span: %r", method, error)
    return CallTrace(tuple(from_environment().items()))


@contextmanager
def span(request: Message) -> Iterator[Metadata]:
    """Yield the metadata of a call, which takes as long as the context.

    The method is that of the request: `CreateJob` for a `CreateJobRequest`.
    """
    trace = begin(request.DESCRIPTOR.name.removesuffix("Request"))
    with ended_on_error(trace):
        yield trace.metadata
    trace.end("OK")


@contextmanager
def ended_on_error(trace: CallTrace) -> Iterator[None]:
    """End the span of a call if an exception ends this context."""
    try:
        yield
    except BaseException as error:
        trace.end(_status(error))
        raise


def from_environment() -> dict[str, str]:
    """Return the metadata for the trace in the environment variables, which can be missing.

    An invalid value is passed on, because the server ignores it. Metadata is printable ASCII.
    """
    found = {key: os.environ.get(name, "") for name, key in _VARIABLES.items()}
    usable = {key: value for key, value in found.items() if _is_usable(value)}
    return usable if "traceparent" in usable else {}


def _is_usable(value: str) -> bool:
    return 0 < len(value) <= _MAX_VALUE and value.isascii() and value.isprintable()


def _status(error: BaseException) -> str:
    code = getattr(error, "code", None)
    return str(code().name) if callable(code) else "CANCELLED"
