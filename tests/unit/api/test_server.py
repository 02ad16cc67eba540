"""Options of the server, and requests that gRPC or the server refuses."""

import asyncio
import signal
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import grpc
import pytest
from api_server import JOB_ID, Api, StartApi, refusal, write_log
from grpc import aio

from jobworker.v1 import job_service_pb2
from jobworkerd.config import ApiConfig, Config
from jobworkerd.rpc_server import server
from jobworkerd.rpc_server.rpc import Context
from jobworkerd.rpc_server.server import options


@pytest.mark.parametrize(
    ("size", "code", "message"),
    [
        (500 * 1024, grpc.StatusCode.INVALID_ARGUMENT, "has 512000 bytes; use at most 4096"),
        (600 * 1024, grpc.StatusCode.RESOURCE_EXHAUSTED, "the request has 614404 bytes"),
        (2047 * 1024, grpc.StatusCode.RESOURCE_EXHAUSTED, "use at most 524288"),
        (2049 * 1024, grpc.StatusCode.RESOURCE_EXHAUSTED, "larger than max"),
    ],
)
async def test_a_request_past_512_kib_is_refused_with_the_reason(
    api: Api, size: int, code: grpc.StatusCode, message: str
) -> None:
    async with api.client() as client:
        with pytest.raises(aio.AioRpcError) as caught:
            await client.stub.CreateJob(job_service_pb2.CreateJobRequest(command="x" * size))
    refused = refusal(caught.value)
    assert refused.code == code
    assert message in refused.message
    reason = "MESSAGE_TOO_LARGE" if size < 2048 * 1024 else ""  # gRPC itself refuses more
    assert refused.reason == ("INVALID_REQUEST" if code is grpc.StatusCode.INVALID_ARGUMENT else reason)


async def test_a_large_request_without_a_role_is_denied(api: Api) -> None:
    async with api.client("Intern") as client:
        call = client.stub.CreateJob(job_service_pb2.CreateJobRequest(command="x" * 600 * 1024))
        assert await call.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_metadata_of_half_a_mebibyte_is_read(api: Api) -> None:
    metadata = [(f"x-{number}", "x" * 8_000) for number in range(64)]
    async with api.client() as client:
        request = job_service_pb2.GetJobRequest(id=JOB_ID)
        assert (await client.stub.GetJob(request, metadata=metadata)).job.id == JOB_ID


async def test_an_unknown_method_is_unimplemented(api: Api) -> None:
    async with api.client() as client:
        nothing: aio.UnaryUnaryMultiCallable[bytes, bytes]
        nothing = client.channel.unary_unary("/jobworker.v1.JobService/Nothing")
        with pytest.raises(aio.AioRpcError) as caught:
            await nothing(b"")
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_a_lost_client_is_detected_within_a_minute() -> None:
    settings = dict(options(ApiConfig()))
    assert settings["grpc.keepalive_time_ms"] + server._KEEPALIVE_ANSWER_MS < 60_000


STREAMING_CLIENT = """
import asyncio, sys
from grpc import aio

async def main():
    async with aio.insecure_channel(sys.argv[1]) as channel:
        async for message in channel.unary_stream("/test.v1.Test/Stream")(b""):
            print(message, flush=True)

asyncio.run(main())
"""


async def test_a_client_that_does_not_answer_pings_is_disconnected(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client process is stopped, but its kernel still acknowledges TCP segments."""
    monkeypatch.setattr(server, "_KEEPALIVE_ANSWER_MS", 1_000)
    gone = asyncio.Event()

    async def stream(_request: bytes, context: Context) -> None:
        await context.write(b"one")
        try:
            await asyncio.Event().wait()
        finally:
            gone.set()

    grpc_server = aio.server(options=options(ApiConfig(keepalive=1)))
    handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]]
    handlers = {"Stream": grpc.unary_stream_rpc_method_handler(stream)}
    grpc_server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.v1.Test", handlers),))
    port = grpc_server.add_insecure_port("127.0.0.1:0")
    await grpc_server.start()
    client = await asyncio.create_subprocess_exec(
        sys.executable, "-c", STREAMING_CLIENT, f"127.0.0.1:{port}", stdout=PIPE
    )
    try:
        assert client.stdout
        assert await client.stdout.readline() == b"b'one'\n"
        client.send_signal(signal.SIGSTOP)
        await asyncio.wait_for(gone.wait(), 20)
    finally:
        client.kill()
        await client.communicate()
        await grpc_server.stop(None)


def test_clients_may_ping_on_quiet_streams() -> None:
    """By default, gRPC disconnects a client on its third ping within five minutes."""
    settings = dict(options(ApiConfig()))
    assert settings["grpc.http2.min_ping_interval_without_data_ms"] <= 10_000
    assert settings["grpc.keepalive_permit_without_calls"] == 1


async def test_a_follower_gets_the_end_of_the_supervisor(start_api: StartApi, config: Config) -> None:
    async with start_api() as api, api.client() as client:
        write_log(Path(config.state_dir, "jobs"))
        call = client.stub.GetJobsStream(job_service_pb2.GetJobsStreamRequest(id=JOB_ID))
        async with asyncio.timeout(10):
            # grpc.aio loses the status of a call that ends while the server sends the headers.
            await call.initial_metadata()
            api.supervisor.close()
            with pytest.raises(aio.AioRpcError) as caught:
                await call.read()
        assert refusal(caught.value).reason == "SUPERVISOR_UNAVAILABLE"
        await api.running
