"""A bare gRPC server over mTLS: the baseline for the cost of a call.

`python bare_server.py CERTS_DIR` prints its address and serves until the end of its standard input.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import grpc

from jobworker.v1 import job_service_pb2

METHOD = "/bench.Bare/Echo"
STREAM_METHOD = "/bench.Bare/Stream"
"""Takes `COUNT SIZE` in ASCII and sends COUNT messages of SIZE bytes."""
SINK_METHOD = "/bench.Bare/Sink"
"""Takes messages of any size, and returns the number of their bytes in ASCII."""
SET_JOB_METHOD = "/bench.Bare/SetJob"
"""Takes a serialized GetJobResponse, which GetJob returns from then on."""


class _Jobs:
    """GetJob as in the documentation of gRPC: a handler that returns a message."""

    def __init__(self) -> None:
        self._answer = job_service_pb2.GetJobResponse()

    async def set_job(self, request: bytes, _: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        self._answer = job_service_pb2.GetJobResponse.FromString(request)
        return b""

    async def get_job(
        self,
        _request: job_service_pb2.GetJobRequest,
        _: grpc.aio.ServicerContext[job_service_pb2.GetJobRequest, job_service_pb2.GetJobResponse],
    ) -> job_service_pb2.GetJobResponse:
        return self._answer


async def _echo(request: bytes, _: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
    return request


async def _stream(request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> None:
    count, size = map(int, request.split())
    message = bytes(size)
    for _ in range(count):
        await context.write(message)


async def _sink(requests: AsyncIterator[bytes], _: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
    total = 0
    async for message in requests:
        total += len(message)
    return str(total).encode()


async def _serve(certs: Path) -> None:
    server = grpc.aio.server()
    handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(_echo)
    streams: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_stream_rpc_method_handler(_stream)
    sink: grpc.RpcMethodHandler[bytes, bytes] = grpc.stream_unary_rpc_method_handler(_sink)
    jobs = _Jobs()
    getting: grpc.RpcMethodHandler[job_service_pb2.GetJobRequest, job_service_pb2.GetJobResponse] = (
        grpc.unary_unary_rpc_method_handler(
            jobs.get_job,
            job_service_pb2.GetJobRequest.FromString,
            job_service_pb2.GetJobResponse.SerializeToString,
        )
    )
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("jobworker.v1.JobService", {"GetJob": getting}),)
    )
    setting: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(jobs.set_job)
    handlers = {"Echo": handler, "Stream": streams, "Sink": sink, "SetJob": setting}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bench.Bare", handlers),))
    key, chain, authority = (
        (certs / name).read_bytes() for name in ("server-key.pem", "server.pem", "ca.pem")
    )
    credentials = grpc.ssl_server_credentials([(key, chain)], authority, require_client_auth=True)
    port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    print(f"127.0.0.1:{port}", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.buffer.read)
    await server.stop(None)


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1])))
