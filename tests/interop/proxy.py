"""A TCP proxy that resets or stalls its connections once, after a number of bytes."""

import asyncio
import contextlib
import enum
import socket
import struct
import threading
from collections.abc import Iterator

_READ_BYTES = 1 << 16


class Fault(enum.Enum):
    """The fault that a proxy injects."""

    RESET = "reset all connections"
    STALL = "forward nothing from the server until `resume` is called"


class FaultyProxy:
    """Forwards bytes in both directions. `triggered` is set when the fault is injected.

    `after_bytes` counts the bytes from the server, or those from the client.
    """

    def __init__(self, upstream: str, fault: Fault, after_bytes: int, *, counts_client: bool = False) -> None:
        self._host, _, self._port = upstream.rpartition(":")
        self._fault = fault
        self._left = after_bytes
        self._counts_client = counts_client
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()
        self._flowing = asyncio.Event()
        self.address = ""
        self.connections = 0
        self.triggered = threading.Event()

    @classmethod
    @contextlib.contextmanager
    def started(
        cls, upstream: str, fault: Fault, after_bytes: int, *, counts_client: bool = False
    ) -> Iterator["FaultyProxy"]:
        """Run a proxy on a free port, in a thread with its own event loop."""
        proxy = cls(upstream, fault, after_bytes, counts_client=counts_client)
        ready = threading.Event()
        thread = threading.Thread(target=lambda: proxy._loop.run_until_complete(proxy._serve(ready)))
        thread.start()
        try:
            assert ready.wait(timeout=10)
            yield proxy
        finally:
            proxy._loop.call_soon_threadsafe(proxy._stopping.set)
            thread.join()
            proxy._loop.close()

    def resume(self) -> None:
        """End a stall. Thread-safe."""
        self._loop.call_soon_threadsafe(self._flowing.set)

    async def _serve(self, ready: threading.Event) -> None:
        self._flowing.set()
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        ready.set()
        await self._stopping.wait()
        server.close()
        self._flowing.set()
        self._reset_all()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.gather(*others, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection(self._host, int(self._port))
        self.connections += 1
        self._writers |= {writer, up_writer}
        await asyncio.gather(self._forward_up(reader, up_writer), self._forward_down(up_reader, writer))
        self._writers -= {writer, up_writer}

    async def _forward_up(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_READ_BYTES):
                if self._counts_client:
                    self._count(len(data))
                writer.write(data)
                await writer.drain()
        writer.close()

    async def _forward_down(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_READ_BYTES):
                if not self._counts_client:
                    self._count(len(data))
                await self._flowing.wait()
                writer.write(data)
                await writer.drain()
        writer.close()

    def _count(self, count: int) -> None:
        self._left -= count
        if self._left > 0 or self.triggered.is_set():
            return
        self.triggered.set()
        if self._fault is Fault.RESET:
            self._reset_all()
        else:
            self._flowing.clear()

    def _reset_all(self) -> None:
        for writer in self._writers:
            # With a linger time of 0 s, close(2) sends RST instead of FIN: socket(7).
            linger = struct.pack("ii", 1, 0)
            with contextlib.suppress(OSError):
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()
