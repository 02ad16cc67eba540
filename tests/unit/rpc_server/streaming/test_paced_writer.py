"""A stalled write ends; a client can be idle otherwise."""

import asyncio
import re
from typing import cast

import pytest

from jobworkerd.config import LogConfig
from jobworkerd.errors import ReaderStalled
from jobworkerd.rpc_server.streaming.paced_writer import MessageWriter, PacedWriter

CONFIG = LogConfig(stall_timeout=0.05)


class Connection:
    """The part of a call that the writer needs. It accepts messages while it is open."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self.open = asyncio.Event()
        self.open.set()

    async def write(self, message: bytes) -> None:
        await self.open.wait()
        self.taken.append(message)


def writer_to(connection: Connection, config: LogConfig = CONFIG) -> PacedWriter:
    return PacedWriter("job", cast("MessageWriter", connection), config)


async def test_a_stalled_client_is_disconnected_without_an_offset() -> None:
    connection = Connection()
    with writer_to(connection) as writer:
        await writer.write(b"first")
        connection.open.clear()
        with pytest.raises(ReaderStalled) as caught:
            await writer.write(b"second")
    assert connection.taken == [b"first"]
    # Messages in transit still arrive, so only the client knows its offset.
    assert "offset after the last received byte" in str(caught.value)
    assert not re.search(r"offset \d", str(caught.value))
    task = asyncio.current_task()
    assert task
    assert task.cancelling() == 0


async def test_a_pause_between_messages_is_not_a_stall() -> None:
    connection = Connection()
    with writer_to(connection) as writer:
        await writer.write(b"first")
        await asyncio.sleep(3 * CONFIG.stall_timeout)
        await writer.write(b"second")
    assert connection.taken == [b"first", b"second"]


async def test_a_cancellation_takes_precedence() -> None:
    connection = Connection()
    connection.open.clear()

    async def call() -> None:
        with writer_to(connection, LogConfig(stall_timeout=60)) as writer:
            await writer.write(b"first")

    task = asyncio.create_task(call())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_messages_grow_on_a_fast_connection() -> None:
    connection = Connection()
    sizes = []
    with writer_to(connection, LogConfig(stall_timeout=60)) as writer:
        for _ in range(6):
            sizes.append(writer.message_bytes)
            await writer.write(b"x")
    assert sizes == [16_384, 32_768, 65_536, 131_072, 262_144, 262_144]


async def test_messages_shrink_on_a_slow_connection() -> None:
    connection = Connection()
    with writer_to(connection, LogConfig(stall_timeout=1)) as writer:
        for _ in range(3):
            await writer.write(b"x")
        connection.open.clear()
        asyncio.get_running_loop().call_later(0.2, connection.open.set)
        before = writer.message_bytes
        await writer.write(b"x")
        assert writer.message_bytes == max(before // 2, 16_384)
