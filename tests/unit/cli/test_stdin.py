"""Tests of the local stdin, with real pipes and files."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from jobworker_cli.stream import stdin


@pytest.fixture
def write_end(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Replace stdin by a pipe, and return its write end."""
    read_end, write_end = os.pipe()
    monkeypatch.setattr(stdin, "_STDIN", read_end)
    yield write_end
    os.close(read_end)


async def test_a_slow_writer_does_not_block_the_event_loop(write_end: int) -> None:
    read = stdin.read_stdin()
    for _ in range(50):
        os.write(write_end, b"x")
        assert await anext(read) == b"x"
        waiting = asyncio.ensure_future(anext(read))
        for _ in range(3):
            await asyncio.sleep(0)  # never returns if the read blocks the loop
        os.write(write_end, b"y")
        assert await waiting == b"y"
    os.close(write_end)
    assert [data async for data in read] == []


async def everything(source: BinaryIO, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """Read a file as stdin to its end."""
    with source:
        monkeypatch.setattr(stdin, "_STDIN", source.fileno())
        return b"".join([data async for data in stdin.read_stdin()])


async def test_files_are_read_to_their_end(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "input"
    path.write_bytes(bytes(100_000))
    for source, size in ((path, 100_000), (Path(os.devnull), 0)):
        descriptor = os.open(source, os.O_RDONLY)
        assert await everything(os.fdopen(descriptor, "rb"), monkeypatch) == bytes(size)


async def test_unread_bytes_of_a_pipe_are_noticed(write_end: int) -> None:
    assert not stdin.has_unread_stdin()
    os.write(write_end, b"x")
    assert stdin.has_unread_stdin()
    os.close(write_end)
