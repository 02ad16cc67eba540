"""A TCP proxy that breaks its connections once, after so many bytes, as a network does."""

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Iterator

_PIECE = 1 << 16


class CuttingProxy:
    """Passes bytes on, until `after` of them came from the server: then every connection is reset, once."""

    def __init__(self, upstream: str, after: int) -> None:
        self._upstream = upstream.rsplit(":", 1)
        self._left: int | None = after
        self._writers: set[asyncio.StreamWriter] = set()
        self.address = ""
        self.connections = 0
        self.cuts = 0

    @classmethod
    @contextlib.contextmanager
    def started(cls, upstream: str, after: int) -> Iterator["CuttingProxy"]:
        """Listens on a free port for as long as the context lasts; it has a thread and a loop of its own."""
        proxy, loop = cls(upstream, after), asyncio.new_event_loop()
        ready, over = threading.Event(), asyncio.Event()
        thread = threading.Thread(target=lambda: loop.run_until_complete(proxy._serve(ready, over)))
        thread.start()
        try:
            ready.wait(timeout=10)
            yield proxy
        finally:
            loop.call_soon_threadsafe(over.set)
            thread.join()
            loop.close()

    async def _serve(self, ready: threading.Event, over: asyncio.Event) -> None:
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        ready.set()
        await over.wait()
        server.close()
        self._reset_all()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.gather(*others, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, port = self._upstream
        up_reader, up_writer = await asyncio.open_connection(host, int(port))
        self.connections += 1
        self._writers |= {writer, up_writer}
        await asyncio.gather(self._pass(reader, up_writer), self._pass(up_reader, writer, counts=True))
        self._writers -= {writer, up_writer}

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, counts: bool = False
    ) -> None:
        with contextlib.suppress(OSError):
            while piece := await reader.read(_PIECE):
                if counts and self._is_time(len(piece)):
                    self._reset_all()
                    return
                writer.write(piece)
                await writer.drain()
        writer.close()

    def _is_time(self, count: int) -> bool:
        if self._left is None:
            return False
        self._left -= count
        if self._left > 0:
            return False
        self._left = None
        self.cuts += 1
        return True

    def _reset_all(self) -> None:
        for writer in self._writers:
            # close(2) of a socket that lingers for 0 s sends RST instead of FIN: socket(7).
            linger = struct.pack("ii", 1, 0)
            with contextlib.suppress(OSError):
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()
