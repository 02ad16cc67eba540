"""The access log: one line per RPC, with the status for the client."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import grpc
import pytest
import structlog
from api_server import Logged, eventually
from grpc import aio

from jobworkerd.errors import JobNotFound
from jobworkerd.rpc_server.interceptors.errors import Errors
from jobworkerd.rpc_server.interceptors.logging import AccessLog
from jobworkerd.rpc_server.rpc import Context
from tests.unit.rpc_server.interceptors.conftest import (
    METHODS,
    SERVICE,
    Behaviour,
    Method,
    Serve,
    bug,
    forever,
    nothing,
)

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
SPAN_ID = "b7ad6b7169203331"


async def _no_job(_context: Context) -> None:
    structlog.contextvars.bind_contextvars(job_id="j-1")
    raise JobNotFound("j-1")


def _lines(logged: Logged) -> Logged:
    return [line for line in logged if line["event"] == "rpc"]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("behaviour", "expected"),
    [(nothing, ("OK", "info")), (_no_job, ("NOT_FOUND", "info")), (bug, ("INTERNAL", "error"))],
)
async def test_the_status_of_a_completed_call(
    serve: Serve, logged: Logged, method: str, behaviour: Behaviour, expected: tuple[str, str]
) -> None:
    async with serve(behaviour, AccessLog(), Errors()) as client:
        with contextlib.suppress(aio.AioRpcError):
            await client.call(method)
        await eventually(lambda: _lines(logged))
    (line,) = _lines(logged)
    assert line["method"] == f"{SERVICE}/{method}"
    assert (line["status"], line["log_level"]) == expected
    assert isinstance(line["ms"], float)
    assert str(line["peer"]).startswith("ipv4:127.0.0.1:")
    assert line.get("job_id") == ("j-1" if behaviour is _no_job else None)


async def _cancel(client: Method, method: str, entered: asyncio.Event) -> None:
    call = client.start(method)
    await entered.wait()
    call.cancel()


async def _deadline(client: Method, method: str, _entered: asyncio.Event) -> None:
    with pytest.raises(aio.AioRpcError) as caught:
        await client.call(method, seconds=0.2)
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("end", "status"), [(_cancel, "CANCELLED"), (_deadline, "DEADLINE_EXCEEDED")])
async def test_the_status_of_a_call_that_the_client_ended(
    serve: Serve,
    logged: Logged,
    method: str,
    end: Callable[[Method, str, asyncio.Event], Awaitable[None]],
    status: str,
) -> None:
    entered = asyncio.Event()

    async def wait(context: Context) -> None:
        entered.set()
        await forever(context)

    async with serve(wait, AccessLog(), Errors()) as client:
        await end(client, method, entered)
        await eventually(lambda: _lines(logged))
    (line,) = logged
    assert (line["status"], line["log_level"]) == (status, "info")


async def test_a_client_that_disconnects_during_a_stream_is_not_a_bug(serve: Serve, logged: Logged) -> None:
    writing = asyncio.Event()

    async def write_forever(context: Context) -> None:
        while True:
            await context.write(b"x" * 65_536)
            writing.set()

    async with serve(write_forever, AccessLog(), Errors()) as client:
        call = client.start("Write")
        await writing.wait()
        call.cancel()
        await eventually(lambda: _lines(logged))
    (line,) = logged
    assert line["status"] == "CANCELLED"


async def test_lines_of_other_calls_do_not_mix(serve: Serve, logged: Logged) -> None:
    numbers = iter(range(3))

    async def bind(_context: Context) -> None:
        structlog.contextvars.bind_contextvars(number=next(numbers))
        await asyncio.sleep(0)

    async with serve(bind, AccessLog()) as client:
        await asyncio.gather(*(client.call("Write") for _ in range(3)))
        await eventually(lambda: len(_lines(logged)) == 3)
    assert {line["number"] for line in logged} == {0, 1, 2}


async def test_lines_have_the_ids_of_the_clients_trace(serve: Serve, logged: Logged) -> None:
    async with serve(bug, AccessLog(), Errors()) as client:
        with contextlib.suppress(aio.AioRpcError):
            await client.call("Write", traceparent=f"00-{TRACE_ID}-{SPAN_ID}-00")
        await eventually(lambda: _lines(logged))
    assert len(logged) == 2
    assert {(line["trace_id"], line["span_id"]) for line in logged} == {(TRACE_ID, SPAN_ID)}


async def test_lines_of_a_call_without_a_valid_trace_have_no_ids(serve: Serve, logged: Logged) -> None:
    async with serve(nothing, AccessLog()) as client:
        await client.call("Write", traceparent=f"00-{TRACE_ID}-{'0' * 16}-01")
        await eventually(lambda: _lines(logged))
    assert not logged[0].keys() & {"trace_id", "span_id"}
