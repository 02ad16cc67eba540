"""Statuses for exceptions of handlers."""

import asyncio
import errno
import os

import grpc
import pytest
from api_server import Logged, refusal
from grpc import aio

from jobworkerd.errors import JobNotFound
from jobworkerd.rpc_server.interceptors.errors import Errors
from jobworkerd.rpc_server.rpc import Context
from tests.unit.rpc_server.interceptors.conftest import METHODS, Serve, bug, forever, refuse


async def _no_job(_context: Context) -> None:
    raise JobNotFound("j-1")


@pytest.mark.parametrize("method", METHODS)
async def test_domain_error_is_a_status_with_details(serve: Serve, method: str, logged: Logged) -> None:
    async with serve(_no_job, Errors()) as client:
        with pytest.raises(aio.AioRpcError) as caught:
            await client.call(method)
    refused = refusal(caught.value)
    assert (refused.code, refused.reason) == (grpc.StatusCode.NOT_FOUND, "JOB_NOT_FOUND")
    assert refused.metadata == {"job_id": "j-1"}
    assert not logged


@pytest.mark.parametrize("method", METHODS)
async def test_a_bug_is_an_id_for_the_client_and_a_traceback_in_the_log(
    serve: Serve, method: str, logged: Logged
) -> None:
    async with serve(bug, Errors()) as client:
        with pytest.raises(aio.AioRpcError) as caught:
            await client.call(method)
    (line,) = logged
    refused = refusal(caught.value)
    assert refused.code == grpc.StatusCode.INTERNAL
    assert str(line["log_id"]) in refused.message
    assert "secret" not in refused.message
    assert line["exc_info"]
    assert line["log_level"] == "error"


async def _no_descriptor(_context: Context) -> None:
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), "/a/secret/path")


@pytest.mark.parametrize("method", METHODS)
async def test_an_exhausted_host_is_not_a_bug(serve: Serve, method: str, logged: Logged) -> None:
    async with serve(_no_descriptor, Errors()) as client:
        with pytest.raises(aio.AioRpcError) as caught:
            await client.call(method)
    refused = refusal(caught.value)
    assert (refused.code, refused.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "HOST_EXHAUSTED")
    assert refused.metadata == {"why": "Too many open files"}
    (line,) = logged
    assert line["log_level"] == "warning"


async def test_a_write_to_a_disconnected_client_is_not_a_bug(serve: Serve, logged: Logged) -> None:
    entered, left = asyncio.Event(), asyncio.Event()

    async def write_late(context: Context) -> None:
        entered.set()
        try:
            await forever(context)
        except asyncio.CancelledError:
            await context.write(b"late")
        finally:
            left.set()

    async with serve(write_late, Errors()) as client:
        call = client.start("Write")
        await entered.wait()
        call.cancel()
        await asyncio.wait_for(left.wait(), 10)
    assert not logged


async def test_a_status_of_the_handler_is_unchanged(serve: Serve, logged: Logged) -> None:
    async with serve(refuse, Errors()) as client:
        with pytest.raises(aio.AioRpcError) as caught:
            await client.call("Unary")
    assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.DATA_LOSS, "gone")
    assert not logged
