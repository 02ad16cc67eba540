"""A pump that is killed between two system calls, and another one that continues its log."""

import contextlib
import errno
import fcntl
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobworkerd.logs.cursor import Chunk, open_cursor
from jobworkerd.logs.writer import LogWriter, readable_bytes
from jobworkerd.model import OutputSource
from jobworkerd.supervisor.pump import Pump
from tests.unit.supervisor.pump_killer import output

OUT, ERR = OutputSource.STDOUT, OutputSource.STDERR
KILLS = 400
PAGE_BYTES = 4096
SEAM: tuple[tuple[object, str], ...] = (
    (os, "splice"),
    (os, "readv"),
    (os, "pwrite"),
    (os, "ftruncate"),
    (os, "posix_fallocate"),
    (fcntl, "ioctl"),
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

    def __init__(self, directory: Path) -> None:
        self.directory = directory
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
        self.log = LogWriter.resume(self.directory)
        self.pump.start(self.log)

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
        """Return the pieces of each source in the log, and the number of lost bytes."""
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


@dataclass(frozen=True)
class Write:
    source: OutputSource
    size: int


@dataclass(frozen=True)
class Read:
    source: OutputSource


@dataclass(frozen=True)
class Kill:
    """Die at a system call after some others, perhaps in the middle of a write."""

    calls: int
    torn: bool


@dataclass(frozen=True)
class Break:
    """Let calls fail from now on; none of them with an empty mapping."""

    errors: dict[str, int]


sources = st.sampled_from([OUT, ERR])
writes = st.builds(Write, sources, st.integers(1, 30) | st.integers(1, 20_000))
reads = st.builds(Read, sources)
kills = st.builds(Kill, st.integers(0, 8), st.booleans())
breaks = st.builds(
    Break,
    st.sampled_from(
        [
            {},
            {"splice": errno.EINVAL},
            {"splice": errno.ENOSPC},
            {"splice": errno.EIO, "pwrite": errno.EIO},
            {"splice": errno.EROFS, "pwrite": errno.EROFS, "posix_fallocate": errno.EROFS},
        ]
    ),
)
Step = Write | Read | Kill | Break


def play(job: Job, seam: Seam, steps: list[Step]) -> None:
    """Play the steps. A kill takes effect in a later step, and the step after that resumes."""
    for step in steps:
        try:
            with seam.installed():
                match step:
                    case Write(source, size):
                        job.write(source, size)
                    case Read(source):
                        job.read(source)
                    case Kill(calls, torn):
                        seam.countdown, seam.torn = calls, torn
                    case Break(errors):
                        seam.errors = errors
        except Killed:
            job.kill()
            seam.countdown = None
        except OSError:
            assert seam.errors, "a resume on a broken disk fails; the next step retries"
            job.kill()


@settings(deadline=None, max_examples=300)
@given(prefix=st.integers(0, 345), steps=st.lists(writes | reads | reads | kills, max_size=40))
def test_each_byte_is_in_the_log_once_or_in_the_pipe(prefix: int, steps: list[Step]) -> None:
    """The prefix moves the records to any place in the pages of the index."""
    with tempfile.TemporaryDirectory() as name:
        job, seam = Job(Path(name)), Seam()
        for number in range(prefix):
            source = OutputSource(1 + number % 2)
            job.write(source, 1)
            job.read(source)
        play(job, seam, steps)
        job.kill()
        check_exact(job)
        job.finish()
        job.kill()
        assert job.left(OUT) == job.left(ERR) == 0
        check_exact(job)
        job.close()


def check_exact(job: Job) -> None:
    pieces, lost = job.output()
    assert lost == 0
    for source, written in job.written.items():
        left = job.left(source)
        assert b"".join(pieces[source]) == written[: len(written) - left]


@settings(deadline=None, max_examples=300)
@given(steps=st.lists(writes | reads | reads | kills | breaks, max_size=60))
def test_a_broken_disk_loses_only_reported_bytes(steps: list[Step]) -> None:
    with tempfile.TemporaryDirectory() as name:
        job, seam = Job(Path(name)), Seam()
        play(job, seam, steps)
        seam.countdown, seam.errors = None, {}
        job.finish()
        assert job.log
        job.log.record_loss()
        job.kill()
        pieces, lost = job.output()
        for source, written in job.written.items():
            left = iter(written)
            assert all(byte in left for piece in pieces[source] for byte in piece), "once, and in order"
        stored = sum(len(piece) for each in pieces.values() for piece in each)
        total = sum(map(len, job.written.values()))
        index_failed = any(isinstance(step, Break) and "pwrite" in step.errors for step in steps)
        if not any(isinstance(step, Kill) for step in steps):
            assert stored + lost == total
        elif not index_failed:
            # A copy that was killed can count bytes as lost that are read later.
            assert stored + lost >= total
        job.close()


@pytest.mark.parametrize("seed", [1, 2])
def test_hundreds_of_kills_neither_lose_nor_repeat_a_byte(tmp_path: Path, seed: int) -> None:
    killer = [sys.executable, "-m", "tests.unit.supervisor.pump_killer", str(tmp_path), str(KILLS), str(seed)]
    ended = subprocess.run(killer, capture_output=True, check=True, timeout=120)
    size = int(ended.stdout)
    assert size > KILLS * 1_000
    found = {OUT: bytearray(), ERR: bytearray()}
    with open_cursor(tmp_path / "job", 0) as cursor:
        while cursor.offset < size:
            piece = cursor.read(size, 1 << 20)
            assert isinstance(piece, Chunk)
            found[piece.source] += piece.data
    for source, data in found.items():
        assert data == output(source, 0, len(data))
