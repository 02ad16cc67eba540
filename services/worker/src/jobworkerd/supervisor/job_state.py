"""The state of a live job: what the next supervisor needs to continue it."""

import asyncio
import time
from collections.abc import Awaitable, Sequence

import msgspec
from msgspec.structs import replace

from jobworkerd.model import Job, without_env
from jobworkerd.supervisor.job_context import JobContext
from jobworkerd.supervisor.job_phase import Phase
from jobworkerd.supervisor.outcome import StopRequest

_RETRY_SECONDS = 1.0
"""Delay before the state is held again after the host was exhausted."""


class JobState(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a job. A PID is 0 without the process.

    `no_cgroup` is why a process group contains the job, and empty if a cgroup does. `cpu_weight` is the
    weight to restore when the command runs. `started_ns` and `kill_at` (in seconds) are times of
    CLOCK_MONOTONIC. `stop_signaled` is true when the main process has received the stop signal. `leftovers`
    is true if the main process left processes, which may be dead by now.
    """

    job: Job
    phase: Phase = Phase.PREPARING
    uid: int = 0
    spare: int = 0
    init: int = 0
    main: int = 0
    no_cgroup: str = ""
    cpu_weight: str = ""
    started_ns: int = 0
    stop: StopRequest | None = None
    stop_signaled: bool = False
    kill_at: float | None = None
    leftovers: bool = False

    @property
    def wall_usec(self) -> int | None:
        """The running time so far, which steps of the wall clock do not affect."""
        return (time.monotonic_ns() - self.started_ns) // 1_000 if self.started_ns else None

    @property
    def pids(self) -> tuple[int, ...]:
        """The processes that the job needs."""
        return () if self.job.status.final else tuple(filter(None, (self.spare, self.init, self.main)))


_decoder = msgspec.msgpack.Decoder(JobState)


def encode(state: JobState) -> bytes:
    """Return a state as bytes, without the environment of the command."""
    return msgspec.msgpack.encode(replace(state, job=without_env(state.job)))


def decode(data: bytes) -> JobState:
    """Return the state that `encode` has encoded.

    Raises:
        msgspec.DecodeError: the bytes have another format.
    """
    return _decoder.decode(data)


class HeldState:
    """The current state of a live job, and its copy in the holder, until `release`."""

    def __init__(self, state: JobState, context: JobContext) -> None:
        """Hold nothing; see `hold` and `adopted`."""
        self.value = state
        self._context = context
        self._held = False
        self._final: Job | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def job(self) -> Job:
        """The current record."""
        return self.value.job

    def set(self, **changes: object) -> None:
        """Change the state without holding it."""
        self.value = replace(self.value, **changes)

    def hold(self, descriptors: Sequence[int]) -> Awaitable[object]:
        """Hold the state and the descriptors for the first time; return when the holder has them.

        Raises:
            OSError: the host is exhausted.
        """
        state = self.value
        held = self._context.holder.hold(state.job.id, encode(state), descriptors, state.pids)
        self._held = True
        return held

    def adopted(self) -> None:
        """Note that the holder has the state already."""
        self._held = True

    def change(self, **changes: object) -> None:
        """Change the state, and hold it if it is held already. On an exhausted host, hold it later."""
        self.set(**changes)
        if "job" in changes:
            self._context.changes.changed(self.job.id)
        self._hold_again()

    def _hold_again(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if self._held:
            state = replace(self.value, job=self._final) if self._final else self.value
            try:
                held = self._context.holder.hold(state.job.id, encode(state), None, state.pids)
            except OSError as error:
                self._failed(error)
            else:
                asyncio.ensure_future(held).add_done_callback(self._answered)

    def _answered(self, held: "asyncio.Future[object]") -> None:
        if not held.cancelled() and isinstance(error := held.exception(), OSError) and self._held:
            self._failed(error)

    def _failed(self, error: OSError) -> None:
        self._context.on_fault("state", error)
        if self._timer is None:
            self._timer = self._context.loop.call_later(_RETRY_SECONDS, self._hold_again)

    def finish(self, final: Job) -> None:
        """Hold the final job instead of the state, until `release`."""
        self._final = final
        self._hold_again()

    def release(self) -> None:
        """Remove the entry from the holder."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if self._held:
            self._held = False
            self._context.holder.release(self.value.job.id)
