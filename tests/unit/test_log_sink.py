"""A reader of stderr that stops reading: writers continue, and lost lines are reported."""

import asyncio
import contextlib
import os
import pty
import select
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import uvloop

from jobworkerd.log_sink import LogSink

LINE = b"x" * 99 + b"\n"
MANY = 20_000
"""More lines than any kind of file below buffers."""


def pipe() -> tuple[int, int]:
    return os.pipe()


def sockets() -> tuple[int, int]:
    ours, theirs = socket.socketpair()
    return ours.detach(), theirs.detach()


def terminal() -> tuple[int, int]:
    main, subsidiary = pty.openpty()
    return main, subsidiary


Kind = Callable[[], tuple[int, int]]
"""Create a read end and a write end."""


@contextlib.contextmanager
def opened(kind: Kind) -> Iterator[tuple[int, int]]:
    read_end, write_end = kind()
    try:
        yield read_end, write_end
    finally:
        os.close(read_end)
        os.close(write_end)


@pytest.fixture(params=[pipe, sockets, terminal])
def ends(request: pytest.FixtureRequest) -> Iterator[tuple[int, int]]:
    """The ends of each kind of file that can be stderr and can block."""
    with opened(request.param) as both:
        yield both


class Reader:
    """Read a number of lines in a separate thread."""

    def __init__(self, descriptor: int, lines: int) -> None:
        self.lines: list[bytes] = []
        self._thread = threading.Thread(target=self._read, args=(descriptor, lines))
        self._thread.start()

    def _read(self, descriptor: int, lines: int) -> None:
        data = b""
        while data.count(b"\n") < lines:
            data += os.read(descriptor, 1 << 16)
        self.lines = data.replace(b"\r\n", b"\n").splitlines(keepends=True)

    def result(self) -> list[bytes]:
        self._thread.join(30)
        return self.lines


def numbered(count: int) -> list[bytes]:
    return [b"%08d%s" % (number, LINE) for number in range(count)]


async def test_writes_continue_and_all_lines_arrive_when_reading_resumes(ends: tuple[int, int]) -> None:
    read_end, write_end = ends
    lines = numbered(MANY)
    with LogSink(write_end, max_bytes=len(LINE) * 2 * MANY) as sink:
        sink.watch(asyncio.get_running_loop())
        for line in lines:
            sink.write(line)
        reader = Reader(read_end, MANY)
        assert await asyncio.to_thread(reader.result) == lines


async def test_lines_that_do_not_fit_are_counted_at_their_position(ends: tuple[int, int]) -> None:
    read_end, write_end = ends
    with LogSink(write_end, max_bytes=10 * len(LINE)) as sink:
        sink.on_recovery(lambda count: _report(sink, count))
        sink.watch(asyncio.get_running_loop())
        for line in numbered(MANY):
            sink.write(line)
        assert await asyncio.to_thread(_read_counting, read_end) > 0


def _report(sink: LogSink, count: int) -> None:
    sink.write(b"dropped %d\n" % count)


def _read_counting(descriptor: int) -> int:
    """Read until each line is read or counted as dropped; return the number of dropped lines."""
    expected, dropped = 0, 0
    with open(descriptor, "rb", closefd=False) as file:
        while expected < MANY:
            line = file.readline().strip()
            if line.startswith(b"dropped"):
                dropped += int(line.split()[1])
                expected += int(line.split()[1])
            else:
                assert int(line.partition(b"x")[0]) == expected
                expected += 1
    return dropped


def test_a_shared_file_stays_blocking(ends: tuple[int, int]) -> None:
    _, write_end = ends
    shared = os.dup(write_end)
    with LogSink(write_end) as sink:
        sink.write(LINE)
        assert os.get_blocking(shared)
    os.close(shared)


def test_a_pipe_that_cannot_be_reopened(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError

    with opened(pipe) as (read_end, write_end):
        with monkeypatch.context() as patch:
            patch.setattr(os, "open", refuse)
            sink = LogSink(write_end)
        for _ in range(1_000):
            sink.write(LINE)
        assert os.get_blocking(write_end)
        reader = Reader(read_end, 1_000)
        sink.finish(30)
        assert len(reader.result()) == 1_000


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_closed_reader_loses_only_its_lines(
    tmp_path: Path, new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with contextlib.closing(new_loop()) as loop:
        first = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
        write_end = os.open(fifo, os.O_WRONLY)
        sink = LogSink(write_end)
        sink.watch(loop)
        reported: list[int] = []
        sink.on_recovery(reported.append)
        for _ in range(1_000):
            sink.write(LINE)
        os.close(first)
        loop.run_until_complete(_drained(sink))
        second = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
        sink.write(b"back\n")
        assert os.read(second, 1 << 20).endswith(b"back\n")
        assert 0 < reported[0] < 1_000
        os.close(second)
        os.close(write_end)


async def _drained(sink: LogSink) -> None:
    async with asyncio.timeout(10):
        while sink._waiting:
            await asyncio.sleep(0.01)


def test_a_full_disk_drops_lines() -> None:
    descriptor = os.open("/dev/full", os.O_WRONLY)
    sink = LogSink(descriptor)
    sink.write(LINE)
    sink.write(LINE)
    assert sink._dropped == 2
    os.close(descriptor)


def test_finish_does_not_wait_for_a_stopped_reader(ends: tuple[int, int]) -> None:
    with LogSink(ends[1]) as sink:
        for _ in range(MANY):
            sink.write(LINE)
        sink.finish(within=0.01)


def test_lines_are_written_together_without_splitting_any() -> None:
    with opened(sockets) as (read_end, write_end), LogSink(write_end) as sink:
        written: list[int] = []
        write_some = sink._write_some

        def count(data: bytes) -> int:
            written.append(len(data))
            return write_some(data)

        sink._write_some = count
        sink.write_lines([LINE] * 100)
        assert Reader(read_end, 100).result() == [LINE] * 100
        assert len(written) == 3
        assert all(size <= select.PIPE_BUF and size % len(LINE) == 0 for size in written)


async def test_other_threads_write_too() -> None:
    with opened(pipe) as (read_end, write_end):
        sink = LogSink(write_end)
        sink.watch(asyncio.get_running_loop())
        await asyncio.gather(*(asyncio.to_thread(_write_many, sink) for _ in range(4)))
        assert await asyncio.to_thread(Reader(read_end, 4_000).result) == [LINE] * 4_000


def _write_many(sink: LogSink) -> None:
    for _ in range(1_000):
        sink.write(LINE)
