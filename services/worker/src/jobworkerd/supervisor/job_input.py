"""The stdin of one job: a pipe that clients feed.

Accepted bytes are in the spool, or already in the pipe. The holder has duplicates of both, and the state of
the inputs, in a separate entry. The end of the input releases that entry, because a duplicate would keep
the pipe open.
"""

import asyncio
import os
from collections.abc import Awaitable
from dataclasses import dataclass

from msgspec.structs import replace

from jobworkerd.errors import InputOffsetOutOfRange, StdinInUse
from jobworkerd.exhaustion import is_exhaustion
from jobworkerd.logs.pipe import readable_bytes
from jobworkerd.model import Stdin
from jobworkerd.supervisor import input_state
from jobworkerd.supervisor.holder import HeldJob, Holder, input_key
from jobworkerd.supervisor.input_spool import InputSpool
from jobworkerd.supervisor.input_state import InputState

MAX_PENDING_BYTES = 256 * 1024
"""A client waits while the spool has this many bytes for the job."""

RETURN_SECONDS = 30.0
"""How long the stdin of kind ONCE stays open without a feeder."""

_RETRY_SECONDS = 0.1
"""Delay before input is sent again after the host was exhausted."""


@dataclass(eq=False)
class Feeder:
    """A client that feeds the stdin, from its call of `attach` to its call of `detach`.

    `size` is the size of its terminal, in columns and rows.
    """

    input_id: str
    size: tuple[int, int] | None = None


class JobInput:
    """The owner of the write end of a job's stdin and of its spool, until `close` or the end of the input."""

    def __init__(self, job_id: str, loop: asyncio.AbstractEventLoop, holder: Holder, kind: Stdin) -> None:
        """Start without a target: all input is accepted and dropped. See `open` and `adopt`."""
        self._job_id = job_id
        self._loop = loop
        self._holder = holder
        self._kind = kind
        self._state = InputState()
        self._target: int | None = None
        """The write end of the pipe, or the master of the terminal."""
        self._feeders: list[Feeder] = []
        self._turn = asyncio.Lock()
        self._changed: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._retry: asyncio.TimerHandle | None = None

    def open(self) -> int:
        """Create the pipe and return its read end, which the caller closes.

        Raises:
            OSError: the host is exhausted. No descriptor is left open.
        """
        spool = InputSpool.create()
        try:
            read_end, self._target = os.pipe2(os.O_CLOEXEC)
        except OSError:
            spool.close()
            raise
        self._spool = spool
        os.set_blocking(self._target, False)
        return read_end

    def adopt(self, held: HeldJob) -> None:
        """Take over the pipe and the spool of an earlier supervisor.

        Raises:
            msgspec.DecodeError: the state has another format.
        """
        self._target, spool = held.descriptors
        self._spool = InputSpool(spool)
        self._state = input_state.decode(held.state)
        self._await_return()
        self._send()

    def hold(self) -> Awaitable[object]:
        """Let the holder have the pipe and the spool; return when it has them.

        Raises:
            OSError: the host is exhausted.
        """
        assert self._target is not None
        state = input_state.encode(self._state)
        return self._holder.hold(input_key(self._job_id), state, [self._target, self._spool.file], ())

    def attach(self, input_id: str, *, take_over: bool = False) -> Feeder:
        """Become the feeder. The client of the same input replaces its broken connection.

        Raises:
            StdinInUse: another client is the feeder, and `take_over` is not set.
        """
        if any(each.input_id != input_id for each in self._feeders) and not take_over:
            raise StdinInUse(self._job_id)
        self._feeders = [Feeder(input_id)]
        self._stop_timer()
        self._wake()
        return self._feeders[0]

    def detach(self, feeder: Feeder) -> None:
        """Stop feeding. Do nothing if another client has taken the stdin over."""
        if feeder in self._feeders:
            self._feeders.remove(feeder)
            self._wake()
            self._await_return()

    def accepted(self, feeder: Feeder) -> int:
        """Return the accepted length of the feeder's input."""
        return 0 if self._target is None else self._state.accepted(feeder.input_id, self._spool.size)

    async def feed(self, feeder: Feeder, offset: int, data: bytes) -> int:
        """Accept a chunk when there is room for it, and return the accepted length of the input.

        Raises:
            StdinInUse: another client has taken the stdin over.
            InputOffsetOutOfRange: the chunk does not continue the input.
            OSError: the host is exhausted. The chunk can be sent again.
        """
        async with self._turn:
            self._check(feeder)
            await self._switch(feeder)
            while self._is_open and self._spool.pending >= MAX_PENDING_BYTES:
                await self._change()
                self._check(feeder)
            if not self._is_open:
                return offset + len(data)
            repeated = self._repeated(feeder, offset)
            self._spool.append(memoryview(data)[repeated:])
            self._send()
            return max(offset + len(data), offset + repeated)

    async def end(self, feeder: Feeder, offset: int) -> int:
        """End the input: the job reads the end of file after the last accepted byte.

        Raises:
            StdinInUse: another client has taken the stdin over.
            InputOffsetOutOfRange: bytes before `offset` are missing.
            OSError: the host is exhausted.
        """
        async with self._turn:
            self._check(feeder)
            if self._is_open:
                self._repeated(feeder, offset)
                await self._change_state(replace(self._state, ended=True))
                self._send()
            return offset

    @property
    def _is_open(self) -> bool:
        return self._target is not None and not self._state.ended

    def _check(self, feeder: Feeder) -> None:
        if feeder not in self._feeders:
            raise StdinInUse(self._job_id)

    async def _switch(self, feeder: Feeder) -> None:
        """Note in the held state that the next bytes of the spool belong to the feeder's input."""
        if self._is_open and feeder.input_id != self._state.input_id:
            await self._switch_to(feeder)
            self._check(feeder)

    async def _switch_to(self, feeder: Feeder) -> None:
        await self._change_state(self._state.switched(feeder.input_id, self._spool.size))

    async def _change_state(self, state: InputState) -> None:
        await self._holder.hold(input_key(self._job_id), input_state.encode(state), None, ())
        self._state = state

    def _repeated(self, feeder: Feeder, offset: int) -> int:
        """Return how many bytes from `offset` on have been accepted already."""
        accepted = self.accepted(feeder)
        if offset > accepted:
            raise InputOffsetOutOfRange(self._job_id, offset, accepted)
        return accepted - offset

    def _send(self) -> None:
        """Pass pending bytes to the job, more of them when it has read. Close an ended pipe after them."""
        if self._target is None:
            return
        try:
            while self._spool.pending:
                self._spool.send(self._target)
        except BlockingIOError:
            self._loop.add_writer(self._target, self._send)
        except OSError as error:
            if is_exhaustion(error):
                self._send_later()
            else:  # the job has closed its stdin
                self._refused()
            return
        else:
            self._loop.remove_writer(self._target)
            if self._state.ended:
                self.close()
                return
        self._spool.trim(self._unread())
        self._wake()

    def _send_later(self) -> None:
        """Wait for memory, instead of for the job."""
        assert self._target is not None
        self._loop.remove_writer(self._target)
        if self._retry:
            self._retry.cancel()
        self._retry = self._loop.call_later(_RETRY_SECONDS, self._send)

    def _unread(self) -> int:
        """Return the number of bytes that the spool still needs after they were sent."""
        assert self._target is not None
        return readable_bytes(self._target)

    def _refused(self) -> None:
        """Handle that the job does not read input any more."""
        self.close()

    async def _change(self) -> None:
        """Wait until there is room in the spool, the pipe is closed, or the feeder changes."""
        self._changed = self._loop.create_future()
        await self._changed

    def _wake(self) -> None:
        if self._changed and not self._changed.done():
            self._changed.set_result(None)

    def _await_return(self) -> None:
        """End the input of kind ONCE if no feeder comes back."""
        if self._kind is Stdin.ONCE and self._is_open and self._state.input_id:
            self._stop_timer()
            self._timer = self._loop.call_later(RETURN_SECONDS, self._expire)

    def _expire(self) -> None:
        self._state = replace(self._state, ended=True)
        self._send()

    def _stop_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def close(self) -> None:
        """Close the target and the spool, and drop pending bytes."""
        self._stop_timer()
        if self._retry:
            self._retry.cancel()
        if self._target is not None:
            self._loop.remove_writer(self._target)
            os.close(self._target)
            self._target = None
            self._spool.close()
            self._holder.release(input_key(self._job_id))
        self._wake()
