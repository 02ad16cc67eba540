"""Spans of streams."""

from collections.abc import Callable
from typing import Protocol, TypeVar, cast

import grpc

from jobworker_client import tracing

__all__ = ["traced"]

C = TypeVar("C")


class _Call(Protocol):
    """The part of `grpc.Call` that the stubs declare without types."""

    def code(self) -> grpc.StatusCode:
        """Return the status of the ended call."""

    def add_callback(self, callback: Callable[[], None]) -> bool:
        """Call a function at the end of the call; return false if the call has ended."""


def traced(name: str, method: Callable[..., C]) -> Callable[..., C]:
    """Return a method of a stub that sends metadata, and whose span ends with the call."""

    def start(request: object, *, timeout: float | None = None) -> C:
        trace = tracing.begin(name)
        with tracing.ended_on_error(trace):
            call = method(request, timeout=timeout, metadata=trace.metadata)
        if trace.has_span:
            ending = cast("_Call", call)

            def end() -> None:
                trace.end(ending.code().name)

            if not ending.add_callback(end):
                end()
        return call

    return start
