"""Spans of streams."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

import grpc

from jobworker_client import tracing
from jobworker_client.tracing import CallTrace, Metadata

__all__ = ["ended", "traced"]

C = TypeVar("C", bound="grpc.aio.Call")

_END_SECONDS = 1.0

_ending: set["asyncio.Task[None]"] = set()


def traced(method: str, start: Callable[[Metadata], C]) -> C:
    """Start a call of a method with its metadata, and return it. Its span ends with the call."""
    trace = tracing.begin(method)
    with tracing.ended_on_error(trace):
        call = start(trace.metadata)
    if trace.has_span:
        task = asyncio.get_running_loop().create_task(_end(trace, call))
        _ending.add(task)
        task.add_done_callback(_ending.discard)
    return call


async def ended() -> None:
    """Wait until the spans of all calls that have ended are complete."""
    if _ending:
        await asyncio.wait(_ending, timeout=_END_SECONDS)


async def _end(trace: CallTrace, call: "grpc.aio.Call") -> None:
    status = "CANCELLED"
    try:
        status = (await call.code()).name
    finally:
        trace.end(status)
