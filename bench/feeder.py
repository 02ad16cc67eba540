"""Send messages as fast as possible: the same load for AttachJob and for a bare client stream.

`python feeder.py ADDRESS CERTS_DIR TOTAL [JOB_ID]` sends TOTAL bytes in pieces of 64 KiB to the stdin of a
job, or without JOB_ID to the bare server. It prints the elapsed seconds when the server has accepted them.
"""

import asyncio
import sys
import time
from pathlib import Path

import grpc

from bare_server import SINK_METHOD
from jobworker.v1 import job_attach_pb2, job_service_pb2, job_service_pb2_grpc
from live_client import credentials

PIECE = bytes(64 * 1024)
WINDOW = 4
"""Pieces that the server has not answered."""

Call = grpc.aio.StreamStreamCall[job_service_pb2.AttachJobRequest, job_service_pb2.AttachJobResponse]


async def _feed_job(channel: grpc.aio.Channel, total: int, job_id: str) -> None:
    call = job_service_pb2_grpc.JobServiceStub(channel).AttachJob()
    start = job_attach_pb2.AttachStart(id=job_id, input_id="bench")
    await call.write(job_service_pb2.AttachJobRequest(start=start))
    await _accepted(call)
    offsets, room = range(0, total, len(PIECE)), asyncio.Semaphore(WINDOW)

    async def read_answers() -> None:
        for _ in offsets:
            await _accepted(call)
            room.release()

    reading = asyncio.create_task(read_answers())
    for offset in offsets:
        await room.acquire()
        chunk = job_attach_pb2.InputChunk(offset=offset, data=PIECE)
        await call.write(job_service_pb2.AttachJobRequest(input=chunk))
    await reading
    call.cancel()


async def _accepted(call: Call) -> None:
    while not (await read(call)).HasField("input_accepted"):
        pass


async def read(call: Call) -> job_service_pb2.AttachJobResponse:
    """Return the next message, which is not the last one."""
    message = await call.read()
    assert isinstance(message, job_service_pb2.AttachJobResponse)
    return message


async def _feed_bare(channel: grpc.aio.Channel, total: int) -> None:
    sink: grpc.aio.StreamUnaryMultiCallable[bytes, bytes] = channel.stream_unary(SINK_METHOD)
    call = sink()
    for _ in range(0, total, len(PIECE)):
        await call.write(PIECE)
    await call.done_writing()
    assert int(await call) == total


async def _main(address: str, certs: Path, total: int, job_id: str) -> None:
    async with grpc.aio.secure_channel(address, credentials(certs, "admin")) as channel:
        await channel.channel_ready()
        begin = time.perf_counter()
        await (_feed_job(channel, total, job_id) if job_id else _feed_bare(channel, total))
        print(time.perf_counter() - begin)


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), "".join(sys.argv[4:])))
