"""Writes to one client, at the pace at which it takes messages."""

import asyncio
from types import TracebackType
from typing import Any, Self

import grpc
import structlog

from jobworkerd.config import LogConfig
from jobworkerd.errors import ReaderStalled

Context = grpc.aio.ServicerContext[Any, bytes]

_FIRST_MESSAGE_BYTES = 16 * 1024
"""A quarter of what HTTP/2 lets a sender send unasked (RFC 9113, 6.9.2): the slowest line takes it."""

_FAST = 1 / 8
"""Of the stall timeout: a message that took less is followed by larger ones, another by smaller ones."""


class PacedWriter:
    """Writes serialized messages, for the task that enters this context manager.

    Only a write that goes on can be late: while nothing is pending, a client may do as it likes. One
    timer watches all writes to a client, so that a write costs no timer of its own.
    """

    def __init__(self, job_id: str, context: Context, config: LogConfig) -> None:
        self.message_bytes = min(_FIRST_MESSAGE_BYTES, config.chunk_bytes)
        """How much payload the next message is to have at most."""
        self._job_id = job_id
        self._context = context
        self._config = config
        self._log: structlog.typing.FilteringBoundLogger = structlog.get_logger()
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._writing_since: float | None = None
        self._stalled = False

    def __enter__(self) -> Self:
        self._task = asyncio.current_task()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer:
            self._timer.cancel()

    async def write(self, message: bytes) -> None:
        """Writes one message.

        Raises:
            ReaderStalled: the client took nothing for the stall timeout.
        """
        self._writing_since = begin = self._loop.time()
        if self._timer is None:
            self._watch(begin)
        try:
            await self._context.write(message)
        except asyncio.CancelledError:
            assert self._task
            # Whoever else cancels the task has the last word, as with asyncio.timeout.
            if self._stalled and self._task.uncancel() == 0:
                self._log.warning("reader stalled", job_id=self._job_id)
                raise ReaderStalled(self._job_id, self._config.stall_timeout) from None
            raise
        finally:
            self._writing_since = None
        self._set_pace(self._loop.time() - begin)

    def _set_pace(self, seconds: float) -> None:
        """A message that takes a slow line the whole stall timeout would never come through."""
        if seconds < _FAST * self._config.stall_timeout:
            self.message_bytes = min(2 * self.message_bytes, self._config.chunk_bytes)
        else:
            self.message_bytes = max(self.message_bytes // 2, min(_FIRST_MESSAGE_BYTES, self.message_bytes))

    def _watch(self, since: float) -> None:
        self._timer = self._loop.call_at(since + self._config.stall_timeout, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._writing_since is None:
            return
        if self._loop.time() < self._writing_since + self._config.stall_timeout:
            self._watch(self._writing_since)
            return
        assert self._task
        self._stalled = True
        self._task.cancel()
