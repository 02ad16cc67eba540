"""A write that goes on for too long ends; all else is the client's to choose."""

import asyncio
import re
from typing import cast

import pytest

from jobworkerd.api.streaming.paced_writer import Context, PacedWriter
from jobworkerd.config import LogConfig
from jobworkerd.errors import ReaderStalled

CONFIG = LogConfig(stall_timeout=0.05)


class Line:
    """What the writer needs of a call: it takes messages while it is open."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self.open = asyncio.Event()
        self.open.set()

    async def write(self, message: bytes) -> None:
        await self.open.wait()
        self.taken.append(message)


def writer_to(line: Line, config: LogConfig = CONFIG) -> PacedWriter:
    return PacedWriter("job", cast("Context", line), config)


async def test_a_client_that_takes_nothing_is_cut_off_and_told_of_no_offset() -> None:
    line = Line()
    with writer_to(line) as writer:
        await writer.write(b"first")
        line.open.clear()
        with pytest.raises(ReaderStalled) as caught:
            await writer.write(b"second")
    assert line.taken == [b"first"]
    # What is on its way to the client still arrives, so only the client's own count can be right.
    assert "offset after the last received byte" in str(caught.value)
    assert not re.search(r"offset \d", str(caught.value))
    task = asyncio.current_task()
    assert task
    assert task.cancelling() == 0


async def test_a_pause_between_messages_is_no_stall() -> None:
    line = Line()
    with writer_to(line) as writer:
        await writer.write(b"first")
        await asyncio.sleep(3 * CONFIG.stall_timeout)
        await writer.write(b"second")
    assert line.taken == [b"first", b"second"]


async def test_who_cancels_the_call_has_the_last_word() -> None:
    line = Line()
    line.open.clear()

    async def call() -> None:
        with writer_to(line, LogConfig(stall_timeout=60)) as writer:
            await writer.write(b"first")

    task = asyncio.create_task(call())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_messages_grow_to_the_largest_on_a_fast_line() -> None:
    line = Line()
    sizes = []
    with writer_to(line, LogConfig(stall_timeout=60)) as writer:
        for _ in range(6):
            sizes.append(writer.message_bytes)
            await writer.write(b"x")
    assert sizes == [16_384, 32_768, 65_536, 131_072, 262_144, 262_144]


async def test_messages_shrink_on_a_slow_line() -> None:
    line = Line()
    with writer_to(line, LogConfig(stall_timeout=1)) as writer:
        for _ in range(3):
            await writer.write(b"x")
        line.open.clear()
        asyncio.get_running_loop().call_later(0.2, line.open.set)
        before = writer.message_bytes
        await writer.write(b"x")
        assert writer.message_bytes == max(before // 2, 16_384)
