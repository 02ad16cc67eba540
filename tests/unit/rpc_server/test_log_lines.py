"""Batches of log lines: all events are written in their order."""

import asyncio
import json
import os
from collections.abc import Iterator

import pytest
from structlog.typing import EventDict

from jobworkerd.log_sink import LogSink
from jobworkerd.rpc_server.log_lines import PER_CALL, EventLogger, LogLines


def render(event: EventDict) -> bytes:
    return json.dumps(event).encode()


class Log:
    """Log lines in a file, and the lines that are already written."""

    def __init__(self, descriptor: int) -> None:
        self.lines = LogLines(LogSink(descriptor), render)
        self._descriptor = descriptor

    def written(self) -> list[object]:
        text = os.pread(self._descriptor, 1 << 20, 0).decode()
        return [json.loads(line)["n"] for line in text.splitlines()]


@pytest.fixture
def log() -> Iterator[Log]:
    descriptor = os.memfd_create("log")
    yield Log(descriptor)
    os.close(descriptor)


async def test_events_of_calls_are_written_in_a_batch(log: Log) -> None:
    log.lines.watch(asyncio.get_running_loop())
    logger = EventLogger(log.lines, PER_CALL)
    for number in range(3):
        logger.info({"n": number})
    assert log.written() == []
    async with asyncio.timeout(10):
        while log.written() != [0, 1, 2]:
            await asyncio.sleep(0)


async def test_other_events_are_written_immediately_after_pending_ones(log: Log) -> None:
    log.lines.watch(asyncio.get_running_loop())
    EventLogger(log.lines, PER_CALL).info({"n": 1})
    EventLogger(log.lines).warning({"n": 2})
    assert log.written() == [1, 2]


async def test_finish_writes_pending_events(log: Log) -> None:
    log.lines.watch(asyncio.get_running_loop())
    EventLogger(log.lines, PER_CALL).error({"n": 1})
    log.lines.finish()
    assert log.written() == [1]


def test_without_a_loop_events_are_written_immediately(log: Log) -> None:
    EventLogger(log.lines, PER_CALL).info({"n": 1})
    assert log.written() == [1]
