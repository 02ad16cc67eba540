"""Shutdown of the API process: each call gets a status with a reason and a line in the log."""

import asyncio
import collections
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import grpc
import pytest
from api_process import Start, Started, connected, starter
from api_server import JOB_ID, Authority, Client, eventually, refusal, write_log
from grpc_health.v1 import health_pb2, health_pb2_grpc

from jobworker.v1 import job_service_pb2
from jobworkerd.config import Config
from jobworkerd.protocol import messages
from jobworkerd.rpc_server import shutdown
from jobworkerd.rpc_server.active_calls import ActiveCalls
from jobworkerd.rpc_server.identity.principal import Identities
from jobworkerd.rpc_server.identity.session_token import SessionTokens

WORKERS = 50


@pytest.fixture
def start() -> Start:
    """Start an API process."""
    return starter()


Ended = collections.Counter[str]


async def _create(client: Client) -> str:
    """Return the code and the reason of a call."""
    try:
        await client.stub.CreateJob(job_service_pb2.CreateJobRequest(command="true"), timeout=30)
    except grpc.aio.AioRpcError as error:
        return f"{error.code().name} {refusal(error).reason}".strip()
    return "OK"


async def _create_until(client: Client, ended: Ended, last: str) -> None:
    """Repeat the call until it ends with this reason."""
    end = ""
    while end != last:
        end = await _create(client)
        ended[end] += 1


async def _shut_down_during_calls(started: Started, client: Client, last: str) -> Ended:
    """Return the results of concurrent workers that call until one ends with this reason."""
    ended: Ended = collections.Counter()
    workers = [asyncio.create_task(_create_until(client, ended, last)) for _ in range(WORKERS)]
    await eventually(lambda: ended["OK"] > WORKERS)
    await started.supervisor.say(messages.Drain())
    # If the socket is closed during a write of the process, the frame can be lost.
    await eventually(lambda: ended["UNAVAILABLE SHUTTING_DOWN"])
    assert await started.end() == 0
    await asyncio.wait_for(asyncio.gather(*workers), 20)
    return ended


def _lines(started: Started) -> int:
    return len([event for event in started.events if event["event"] == "rpc"])


async def test_every_call_has_a_status_with_a_reason_and_a_line(
    start: Start, config: Config, authority: Authority
) -> None:
    async with start(config) as started, connected(await started.address(), authority) as client:
        ended = await _shut_down_during_calls(started, client, "UNAVAILABLE SHUTTING_DOWN")
    assert set(ended) == {"OK", "UNAVAILABLE SHUTTING_DOWN"}
    assert _lines(started) == ended.total()


async def test_clients_that_continue_to_call_do_not_delay_the_shutdown(
    start: Start, config: Config, authority: Authority
) -> None:
    async with start(config) as started, connected(await started.address(), authority) as client:
        ended = await _shut_down_during_calls(started, client, "UNAVAILABLE")
    assert ended["UNAVAILABLE"] == WORKERS
    assert set(ended) <= {"OK", "UNAVAILABLE SHUTTING_DOWN", "UNAVAILABLE"}


async def test_the_server_stops_as_soon_as_no_more_calls_arrive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutdown, "_ANSWER_SECONDS", 600.0)
    server = grpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with asyncio.timeout(30):
        await shutdown.stop(server, ActiveCalls(Identities(SessionTokens(AsyncMock()))), port)


async def test_clients_of_a_lost_supervisor_can_repeat_each_failed_call(
    start: Start, config: Config, authority: Authority
) -> None:
    ended: Ended = collections.Counter()
    async with start(config) as started, connected(await started.address(), authority) as client:
        workers = [asyncio.create_task(_create_until(client, ended, "UNAVAILABLE")) for _ in range(WORKERS)]
        await eventually(lambda: ended["OK"] > WORKERS)
        assert await started.end() == 0
        await asyncio.wait_for(asyncio.gather(*workers), 20)
    assert ended["UNAVAILABLE SUPERVISOR_UNAVAILABLE"]
    assert {end.split()[0] for end in ended} == {"OK", "UNAVAILABLE"}


async def _read_all(call: Any) -> None:
    async with asyncio.timeout(20):
        while await call.read() is not grpc.aio.EOF:
            pass


async def test_streams_end_with_the_reason(start: Start, config: Config, authority: Authority) -> None:
    write_log(Path(config.state_dir))
    async with start(config) as started, connected(await started.address(), authority) as client:
        stream = client.stub.GetJobsStream(job_service_pb2.GetJobsStreamRequest(id=JOB_ID))
        watch = health_pb2_grpc.HealthStub(client.channel).Watch(health_pb2.HealthCheckRequest())
        await watch.read()
        await eventually(lambda: started.supervisor.requests)
        await started.supervisor.say(messages.Drain())
        await watch.read()
        assert await started.end() == 0
        for call in (stream, watch):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await _read_all(call)
            assert refusal(caught.value).reason == "SHUTTING_DOWN"
    assert {event["status"] for event in started.events if event["event"] == "rpc"} == {"UNAVAILABLE"}


async def test_waits_end_with_the_reason(start: Start, config: Config, authority: Authority) -> None:
    async with start(config) as started, connected(await started.address(), authority) as client:
        wait = client.stub.WaitJob(job_service_pb2.WaitJobRequest(id=JOB_ID))
        # gRPC starts a unary call only when it is awaited.
        ended = asyncio.ensure_future(wait.code())
        await eventually(lambda: started.supervisor.requests)
        await started.supervisor.say(messages.Drain())
        assert await started.end() == 0
        assert await ended is grpc.StatusCode.UNAVAILABLE
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await wait
        assert refusal(caught.value).reason == "SHUTTING_DOWN"


async def test_calls_that_end_with_the_process_are_not_logged_as_errors(
    start: Start, config: Config, authority: Authority
) -> None:
    write_log(Path(config.state_dir))
    async with start(config) as started, connected(await started.address(), authority) as client:
        workers = [asyncio.create_task(_stream_until_disconnected(client)) for _ in range(WORKERS)]
        await eventually(lambda: started.supervisor.requests)
        assert await started.end() == 0
        await asyncio.wait_for(asyncio.gather(*workers), 20)
    assert not [event for event in started.events if event["level"] == "error"]


async def _stream_until_disconnected(client: Client) -> None:
    while True:
        try:
            await _read_all(client.stub.GetJobsStream(job_service_pb2.GetJobsStreamRequest(id=JOB_ID)))
        except grpc.aio.AioRpcError as error:
            if not refusal(error).reason:
                return


async def test_a_call_ends_before_the_process() -> None:
    """gRPC prints a traceback for a call that the end of the event loop cancels."""
    ended: list[str] = []
    running = asyncio.Event()

    async def slow(_request: bytes, _context: object) -> bytes:
        try:
            running.set()
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.2)
            ended.append("slow")
        return b""

    server = grpc.aio.server()
    handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
        "Slow": grpc.unary_unary_rpc_method_handler(slow)
    }
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("test", handlers)])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/test/Slow")
        code = asyncio.ensure_future(call(b"").code())
        await running.wait()
        await shutdown.abandon(server, ActiveCalls(Identities(SessionTokens(AsyncMock()))), port)
        assert ended == ["slow"]
        assert await code is grpc.StatusCode.UNAVAILABLE
