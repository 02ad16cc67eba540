"""A TCP proxy that does to its connections what networks and slow readers do, once, after so many bytes."""

import asyncio
import contextlib
import enum
import socket
import struct
import threading
from collections.abc import Iterator

_PIECE = 1 << 16


class Fault(enum.Enum):
    """What happens after so many bytes from the server."""

    RESET = "all connections are reset"
    STALL = "nothing is passed on from the server until `resume` is called"


class FaultyProxy:
    """Passes bytes on, and has one fault, which `struck` tells of."""

    def __init__(self, upstream: str, fault: Fault, after: int) -> None:
        self._host, _, self._port = upstream.rpartition(":")
        self._fault = fault
        self._left = after
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._over = asyncio.Event()
        self._may_pass = asyncio.Event()
        self.address = ""
        self.connections = 0
        self.struck = threading.Event()

    @classmethod
    @contextlib.contextmanager
    def started(cls, upstream: str, fault: Fault, after: int) -> Iterator["FaultyProxy"]:
        """Listens on a free port for as long as the context lasts, on a thread with a loop of its own."""
        proxy, ready = cls(upstream, fault, after), threading.Event()
        thread = threading.Thread(target=lambda: proxy._loop.run_until_complete(proxy._serve(ready)))
        thread.start()
        try:
            assert ready.wait(timeout=10)
            yield proxy
        finally:
            proxy._loop.call_soon_threadsafe(proxy._over.set)
            thread.join()
            proxy._loop.close()

    def resume(self) -> None:
        """Ends a stall; for the thread that started the proxy."""
        self._loop.call_soon_threadsafe(self._may_pass.set)

    async def _serve(self, ready: threading.Event) -> None:
        self._may_pass.set()
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        ready.set()
        await self._over.wait()
        server.close()
        self._may_pass.set()
        self._reset_all()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.gather(*others, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection(self._host, int(self._port))
        self.connections += 1
        self._writers |= {writer, up_writer}
        await asyncio.gather(self._pass_up(reader, up_writer), self._pass_down(up_reader, writer))
        self._writers -= {writer, up_writer}

    async def _pass_up(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while piece := await reader.read(_PIECE):
                writer.write(piece)
                await writer.drain()
        writer.close()

    async def _pass_down(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while piece := await reader.read(_PIECE):
                self._count(len(piece))
                await self._may_pass.wait()
                writer.write(piece)
                await writer.drain()
        writer.close()

    def _count(self, count: int) -> None:
        self._left -= count
        if self._left > 0 or self.struck.is_set():
            return
        self.struck.set()
        if self._fault is Fault.RESET:
            self._reset_all()
        else:
            self._may_pass.clear()

    def _reset_all(self) -> None:
        for writer in self._writers:
            # close(2) of a socket that lingers for 0 s sends RST instead of FIN: socket(7).
            linger = struct.pack("ii", 1, 0)
            with contextlib.suppress(OSError):
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()
