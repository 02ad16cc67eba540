"""A process that reads streams as fast as it can and counts bytes: the load on both servers alike.

`python reader.py ADDRESS CERTS_DIR METHOD REQUEST_HEX COUNT` opens COUNT streams on one connection, says
`ready`, begins them when a line comes, and prints the bytes of all messages and the seconds they took.
"""

import asyncio
import sys
import time
from pathlib import Path

import grpc

from live import credentials


async def _read(call: grpc.aio.UnaryStreamCall[bytes, bytes]) -> int:
    taken = 0
    while (message := await call.read()) is not grpc.aio.EOF:
        assert isinstance(message, bytes)
        taken += len(message)
    return taken


async def _main(address: str, certs: Path, method: str, request: bytes, count: int) -> None:
    options = [("grpc.max_receive_message_length", -1)]
    async with grpc.aio.secure_channel(address, credentials(certs, "admin"), options) as channel:
        await channel.channel_ready()
        print("ready", flush=True)
        sys.stdin.readline()
        stream: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(method)
        start = time.perf_counter()
        taken = await asyncio.gather(*(_read(stream(request)) for _ in range(count)))
        print(sum(taken), time.perf_counter() - start, flush=True)


if __name__ == "__main__":
    asyncio.run(
        _main(sys.argv[1], Path(sys.argv[2]), sys.argv[3], bytes.fromhex(sys.argv[4]), int(sys.argv[5]))
    )
