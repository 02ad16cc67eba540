"""Read streams as fast as possible and count bytes: the same load for both servers.

`python reader.py ADDRESS CERTS_DIR METHOD REQUEST_HEX COUNT` prepares COUNT streams on one connection, prints
`ready`, starts them after a line of input, and prints the bytes of all messages and the elapsed seconds.
"""

import asyncio
import sys
import time
from pathlib import Path

import grpc

from live_client import credentials


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
