"""Writes to one client at the pace at which it reads messages."""

import asyncio
from types import TracebackType
from typing import Protocol, Self

import structlog

from jobworkerd.config import LogConfig
from jobworkerd.errors import ReaderStalled


class MessageWriter(Protocol):
    """The context of an RPC with serialized messages, or a part of it."""

    async def write(self, message: bytes, /) -> None:
        """Write a message, and return when the client has room for the next one."""


_FIRST_MESSAGE_BYTES = 16 * 1024
"""A quarter of the initial HTTP/2 window (RFC 9113, 6.9.2), which suits the slowest connections."""

_FAST = 1 / 8
"""Fraction of the stall timeout. After a faster write messages grow, after a slower one they shrink."""


class PacedWriter:
    """Writes serialized messages for the task that enters this context manager.

    Only a pending write can stall. An idle stream never does. One timer watches all writes to a client,
    because a timer per write would be expensive.
    """

    def __init__(self, job_id: str, context: MessageWriter, config: LogConfig) -> None:
        self.message_bytes = min(_FIRST_MESSAGE_BYTES, config.chunk_bytes)
        """Maximum payload of the next message."""
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
        """Write one message.

        Raises:
            ReaderStalled: the client read nothing during the stall timeout.
        """
        self._writing_since = begin = self._loop.time()
        if self._timer is None:
            self._watch(begin)
        try:
            await self._context.write(message)
        except asyncio.CancelledError:
            assert self._task
            # As in asyncio.timeout: another cancellation takes precedence.
            if self._stalled and self._task.uncancel() == 0:
                self._log.warning("reader stalled", job_id=self._job_id)
                raise ReaderStalled(self._job_id, self._config.stall_timeout) from None
            raise
        finally:
            self._writing_since = None
        self._set_pace(self._loop.time() - begin)

    def _set_pace(self, seconds: float) -> None:
        """Adapt the size to the connection, so that no message needs the whole stall timeout."""
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
