"""A job whose pump is killed at a system call, or whose disk fails, while its pipes stay open."""

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from jobworkerd.logs import retention
from jobworkerd.logs.cursor import Chunk, open_cursor
from jobworkerd.logs.pipe import readable_bytes
from jobworkerd.logs.writer import LogWriter
from jobworkerd.model import OutputSource
from jobworkerd.supervisor.pump import Pump

OUT, ERR = OutputSource.STDOUT, OutputSource.STDERR
PAGE_BYTES = 4096
SEAM: tuple[tuple[object, str], ...] = (
    (os, "splice"),
    (os, "readv"),
    (os, "pwrite"),
    (os, "ftruncate"),
    (os, "posix_fallocate"),
    (fcntl, "ioctl"),
    (retention, "punch"),
)
"""The system calls that change a pipe or a file of the log, and one that only reads."""


class Killed(BaseException):
    """Ends the supervisor at a system call."""


@dataclass
class Seam:
    """Counts the system calls, kills at one of them, and lets calls fail."""

    countdown: int | None = None
    torn: bool = False
    errors: dict[str, int] = field(default_factory=dict)

    def wrapped(self, name: str, call: Callable[..., object]) -> Callable[..., object]:
        def counted(*args: object, **kwargs: object) -> object:
            if self.countdown == 0:
                if name == "pwrite" and self.torn:
                    torn_pwrite(call, *args)
                raise Killed
            if self.countdown is not None:
                self.countdown -= 1
            if number := self.errors.get(name):
                raise OSError(number, os.strerror(number))
            return call(*args, **kwargs)

        return counted

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            for module, name in SEAM:
                patch.setattr(module, name, self.wrapped(name, getattr(module, name)))
            yield


def torn_pwrite(pwrite: Callable[..., object], *args: object) -> None:
    """Write up to the end of the page: there the kernel checks for a kill."""
    descriptor, data, offset = args
    assert isinstance(data, bytes | memoryview)
    assert isinstance(offset, int)
    pwrite(descriptor, data[: -offset % PAGE_BYTES or PAGE_BYTES], offset)


class Loop:
    """The part of the event loop that a pump uses; the test calls the readers."""

    def __init__(self) -> None:
        self.readers: dict[int, Callable[[], object]] = {}

    def add_reader(self, descriptor: int, call: Callable[..., object], *args: object) -> None:
        self.readers[descriptor] = lambda: call(*args)

    def remove_reader(self, descriptor: int) -> None:
        self.readers.pop(descriptor, None)


class Job:
    """Two pipes whose read ends are kept, as the keeper does, and the bytes that were written to them."""

    def __init__(self, directory: Path, max_bytes: int | None = None) -> None:
        """Create the log, which is trimmed to a size."""
        self.directory = directory
        self.max_bytes = max_bytes
        self.ends = {source: os.pipe2(os.O_NONBLOCK) for source in (OUT, ERR)}
        self.written = {OUT: bytearray(), ERR: bytearray()}
        self.pump: Pump | None = None
        self.log: LogWriter | None = None
        LogWriter.create(directory).close()

    def write(self, source: OutputSource, size: int) -> None:
        start = len(self.written[source])
        data = b"".join(b"%07d\n" % number for number in range(start // 8, (start + size) // 8 + 1))
        data = data[start % 8 :][:size]
        with contextlib.suppress(BlockingIOError):
            self.written[source] += data[: os.write(self.ends[source][1], data)]

    def start_pump(self) -> None:
        """Do what a new supervisor does."""
        self.loop = Loop()
        pipes = {source: os.dup(read) for source, (read, _) in self.ends.items()}
        self.descriptors = pipes
        self.pump = Pump(self.loop, dict(pipes), memoryview(bytearray(3_000)), lambda: None)  # type: ignore[arg-type]
        self.log = LogWriter.resume(self.directory, self.trim)
        self.pump.start(self.log)

    def trim(self, log: LogWriter, _more: int) -> None:
        if self.max_bytes is not None:
            log.trim(self.max_bytes)

    def read(self, source: OutputSource) -> None:
        if self.pump is None:
            self.start_pump()
        self.loop.readers[self.descriptors[source]]()

    def kill(self) -> None:
        """Close what the kernel closes when the supervisor dies."""
        if self.pump:
            self.pump.close()
        if self.log:
            self.log.close()
        self.pump = self.log = None

    def finish(self) -> None:
        if self.pump is None:
            self.start_pump()
        assert self.pump
        self.pump.finish()

    def left(self, source: OutputSource) -> int:
        return readable_bytes(self.ends[source][0])

    def output(self) -> tuple[dict[OutputSource, list[bytes]], int]:
        """Return the pieces of each source in the log, and the number of lost or trimmed bytes."""
        pieces: dict[OutputSource, list[bytes]] = {OUT: [], ERR: []}
        lost = 0
        writer = LogWriter.resume(self.directory)
        with open_cursor(self.directory, 0) as cursor:
            while cursor.offset < writer.size:
                piece = cursor.read(writer.size, 1 << 20)
                if isinstance(piece, Chunk):
                    pieces[piece.source].append(piece.data)
                else:
                    lost += piece.end - piece.offset
        writer.close()
        return pieces, lost

    def close(self) -> None:
        self.kill()
        for ends in self.ends.values():
            for each in ends:
                os.close(each)
