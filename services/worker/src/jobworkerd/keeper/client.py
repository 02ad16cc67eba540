"""The supervisor's end of the connection to the keeper; see `wire` for the operations."""

import asyncio
import errno
import os
import socket
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, Protocol, TypeVar

from jobworkerd.keeper import wire

T = TypeVar("T")


class UnknownVersion(RuntimeError):
    """Raised when the keeper has a protocol version that this program does not know."""


class Entry(NamedTuple):
    """An entry of the keeper's table. The receiver owns the descriptors."""

    key: str
    descriptors: list[int]


class Keeper(Protocol):
    """The parent of all jobs, and the holder of their descriptors.

    All methods return at once. The futures raise an OSError if the keeper cannot execute the operation.
    """

    def hold(self, key: str, descriptors: Sequence[int]) -> asyncio.Future[None]:
        """Keep duplicates of descriptors, in place of those of the same key.

        Raises:
            OSError: the host is exhausted.
        """

    def release(self, key: str) -> None:
        """Close the descriptors of a key."""

    def spawn(self, argv: Sequence[str], descriptors: Sequence[int]) -> asyncio.Future[int]:
        """Start a child with descriptors from number `wire.FIRST_DESCRIPTOR` on, and return its PID.

        Raises:
            OSError: the host is exhausted.
        """

    def status(self, pid: int) -> asyncio.Future[int]:
        """Return the wait status of a child that has ended; the child is not reaped."""

    def discard(self, pid: int, *, group: bool = False) -> asyncio.Future[None]:
        """Kill a child, or the children of a process group, and reap them. The future ends after that."""


class KeeperClient:
    """The connection of this supervisor; implements `Keeper`."""

    def __init__(self, sock: socket.socket, on_leave: Callable[[], None], on_end: Callable[[], None]) -> None:
        """`on_leave` is called when another supervisor takes over, `on_end` when the keeper has died."""
        sock.setblocking(False)  # noqa: FBT003 - positional-only
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._on_leave = on_leave
        self._on_end = on_end
        self._hello: asyncio.Future[int] = self._loop.create_future()
        self._go: asyncio.Future[None] = self._loop.create_future()
        self._numbers = 0
        self._answers: dict[str, asyncio.Future[wire.Packet]] = {}
        self._waiting: deque[list[object]] = deque()
        self._loop.add_reader(sock.fileno(), self._on_readable)

    async def connect(self) -> None:
        """Check the version of the keeper.

        Raises:
            UnknownVersion: this program does not know the version.
        """
        version = await self._hello
        if version != wire.VERSION:
            raise UnknownVersion(
                f"the keeper has protocol version {version}, but this supervisor has {wire.VERSION}; restart "
                "the service to replace the keeper, which ends all jobs"
            )

    async def take_over(self, settings: bytes, signature: str) -> None:
        """Report that this supervisor is prepared, and return when the table belongs to it."""
        file = os.memfd_create("jobworkerd-config")
        try:
            os.write(file, settings)
            await self._request("prepared", signature, descriptors=[file])
        finally:
            os.close(file)
        await self._go

    async def entries(self) -> list[Entry]:
        """Return the table of the keeper.

        Raises:
            OSError: this process is out of descriptors.
        """
        found: list[Entry] = []
        try:
            while True:
                packet = await self._request("entry", len(found))
                found.append(Entry(packet.words[2], packet.descriptors))
        except FileNotFoundError:
            return found

    def hold(self, key: str, descriptors: Sequence[int]) -> asyncio.Future[None]:
        """Implement `Keeper`."""
        return self._then(self._request("hold", key, descriptors=descriptors), lambda _: None)

    def release(self, key: str) -> None:
        """Implement `Keeper`."""
        self._forget(self._request("release", key))

    def spawn(self, argv: Sequence[str], descriptors: Sequence[int]) -> asyncio.Future[int]:
        """Implement `Keeper`."""
        answer = self._request("spawn", *argv, descriptors=descriptors)
        return self._then(answer, lambda packet: int(packet.words[2]))

    def status(self, pid: int) -> asyncio.Future[int]:
        """Implement `Keeper`."""
        return self._then(self._request("status", pid), lambda packet: int(packet.words[2]))

    def discard(self, pid: int, *, group: bool = False) -> asyncio.Future[None]:
        """Implement `Keeper`."""
        return self._then(self._request("discard", -pid if group else pid), lambda _: None)

    def notify(self, state: str) -> None:
        """Send a state to the service manager."""
        self._forget(self._request("notify", state))

    def listening(self) -> None:
        """Report that this process handles signals."""
        self._forget(self._request("listening"))

    def ready(self) -> None:
        """Report that this supervisor serves."""
        self._forget(self._request("ready"))

    def end(self) -> None:
        """Report that the server ends with this process."""
        self._forget(self._request("end"))

    async def settle(self, seconds: float) -> None:
        """Wait until the keeper has answered all requests, for at most some seconds."""
        if self._answers:
            await asyncio.wait(list(self._answers.values()), timeout=seconds)

    def close(self) -> None:
        """Close the socket."""
        self._loop.remove_reader(self._sock.fileno())
        self._loop.remove_writer(self._sock.fileno())
        self._sock.close()

    def _request(
        self, operation: str, *arguments: object, descriptors: Sequence[int] = ()
    ) -> asyncio.Future[wire.Packet]:
        """Send a request. One with descriptors fails at once if the socket is full."""
        self._numbers += 1
        words = [self._numbers, operation, *arguments]
        if descriptors:
            if self._waiting:
                raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN), "keeper")
            wire.send(self._sock, words, descriptors)
        else:
            self._waiting.append(words)
            self._flush()
        answer = self._answers[str(self._numbers)] = self._loop.create_future()
        return answer

    def _flush(self) -> None:
        try:
            while self._waiting:
                wire.send(self._sock, self._waiting[0])
                self._waiting.popleft()
        except (BrokenPipeError, ConnectionResetError):
            return  # the reader sees the end of the keeper
        except OSError:
            self._loop.add_writer(self._sock.fileno(), self._on_writable)

    def _on_writable(self) -> None:
        self._loop.remove_writer(self._sock.fileno())
        self._flush()

    def _on_readable(self) -> None:
        try:
            packet = wire.receive(self._sock)
        except OSError:
            return
        if packet is None:
            self._loop.remove_reader(self._sock.fileno())
            self._on_end()
        elif packet.words[0] == wire.NOTICE:
            self._on_notice(packet.words[1:])
        else:
            self._on_answer(packet)

    def _on_notice(self, words: list[str]) -> None:
        match words:
            case ["hello", version] if not self._hello.done():
                self._hello.set_result(int(version))
            case ["go"] if not self._go.done():
                self._go.set_result(None)
            case ["leave"]:
                self._on_leave()

    def _on_answer(self, packet: wire.Packet) -> None:
        answer = self._answers.pop(packet.words[0], None)
        code = errno.EMFILE if packet.truncated else int(packet.words[1])
        if answer is None or answer.done() or code:
            packet.close()
        if answer is None or answer.done():
            return
        if code:
            answer.set_exception(OSError(code, os.strerror(code), "keeper"))
        else:
            answer.set_result(packet)

    def _then(
        self, answer: asyncio.Future[wire.Packet], convert: Callable[[wire.Packet], T]
    ) -> asyncio.Future[T]:
        future: asyncio.Future[T] = self._loop.create_future()
        answer.add_done_callback(partial(_convert, future, convert))
        return future

    @staticmethod
    def _forget(answer: asyncio.Future[wire.Packet]) -> None:
        answer.add_done_callback(lambda done: done.cancelled() or done.exception())


def _convert(
    future: asyncio.Future[T], convert: Callable[[wire.Packet], T], answer: asyncio.Future[wire.Packet]
) -> None:
    error = answer.exception()
    if future.done():
        return
    if error:
        future.set_exception(error)
        future.exception()  # marks it as retrieved: the caller can ignore it
    else:
        future.set_result(convert(answer.result()))
