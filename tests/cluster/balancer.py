"""Forwards each TCP connection to a server that accepts it, as a load balancer of apiservers does.

It runs as a separate program: balancer.py ADDRESS:PORT TARGET:PORT...
"""

import asyncio
import contextlib
import sys
from collections.abc import Coroutine, Sequence

_CONNECT_SECONDS = 1.0
_CHUNK_BYTES = 1 << 16


async def serve(listen: str, targets: Sequence[str]) -> None:
    """Forward connections until cancelled. Each connection begins with another target."""
    turn = 0

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal turn
        turn += 1
        order = [targets[(turn + step) % len(targets)] for step in range(len(targets))]
        with contextlib.closing(writer):
            if found := await _connect(order):
                target_reader, target_writer = found
                with contextlib.closing(target_writer):
                    await _both(_copy(reader, target_writer), _copy(target_reader, writer))

    host, _, port = listen.rpartition(":")
    async with await asyncio.start_server(forward, host, int(port)) as server:
        await server.serve_forever()


async def _connect(targets: Sequence[str]) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
    for target in targets:
        host, _, port = target.rpartition(":")
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(_CONNECT_SECONDS):
                return await asyncio.open_connection(host, int(port))
    return None


async def _both(first: Coroutine[None, None, None], second: Coroutine[None, None, None]) -> None:
    """Copy in both directions until one side ends."""
    tasks = [asyncio.ensure_future(first), asyncio.ensure_future(second)]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while chunk := await reader.read(_CHUNK_BYTES):
            writer.write(chunk)
            await writer.drain()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], sys.argv[2:]))
