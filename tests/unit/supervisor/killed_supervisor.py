"""A supervisor that is killed while it holds the state of a job, and its successor, in one process."""

import asyncio
import os
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field

import pytest
from held_jobs import HeldJobs
from host_resources import children
from job_context import new_job
from msgspec.structs import replace
from own_children import OwnChildren

from jobworkerd.model import Job
from jobworkerd.supervisor.adoption import Adoption
from jobworkerd.supervisor.holder import HeldJob
from jobworkerd.supervisor.job_context import JobContext
from jobworkerd.supervisor.live_job import LiveJob
from jobworkerd.trace_context import JobTrace


class Parent(OwnChildren):
    """Keeps the status of a reaped process, like the keeper."""

    def __init__(self, children: OwnChildren, statuses: dict[int, int]) -> None:
        self.__dict__ = children.__dict__
        self._statuses = statuses

    async def reap(self, pid: int) -> int:
        if pid not in self._statuses:
            self._statuses[pid] = await super().reap(pid)
        return self._statuses[pid]


class Killed(BaseException):
    """Raised instead of the end of the process."""


class Holder(HeldJobs):
    """Kills the supervisor at the call of `hold` with the index `kill_at`, before or after its effect."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0
        self.kill_at = -1
        self.before = False
        self.statuses: dict[int, int] = {}

    def arm(self, kill_at: int, *, before: bool = False) -> None:
        """Count the calls from now on."""
        self.calls, self.kill_at, self.before = 0, kill_at, before

    def hold(
        self, key: str, state: bytes, descriptors: Sequence[int] | None, pids: Sequence[int]
    ) -> Awaitable[object]:
        index, self.calls = self.calls, self.calls + 1
        if index == self.kill_at and self.before:
            raise Killed
        held = super().hold(key, state, descriptors, pids)
        if index == self.kill_at:
            raise Killed
        return held

    def received(self) -> dict[str, HeldJob]:
        """Return what the next supervisor receives: duplicates of all descriptors."""
        return {
            key: HeldJob(entry.state, [os.dup(each) for each in entry.descriptors], self.statuses)
            for key, entry in self.entries.items()
        }


@dataclass
class Supervisor:
    """The owner of one job at a time."""

    context: JobContext
    holder: Holder
    faults: list[str]
    number: int = 0
    live: list[LiveJob] = field(default_factory=list)
    ended: list[Job] = field(default_factory=list)
    orphans: set[int] = field(default_factory=set)

    async def start(
        self, *argv: str, was_queued: bool = False, trace: JobTrace | None = None, **spec: object
    ) -> LiveJob:
        """Start a job."""
        self.live, self.ended, self.number = [], [], self.number + 1
        job = new_job(*argv, job_id=f"0198a000-{self.number:04x}-7000-8000-000000000000")
        job = replace(job, spec=replace(job.spec, **spec), was_queued=was_queued, trace=trace)
        commit = self.context.records.insert
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(LiveJob, "abandon", _nothing)  # a killed supervisor cleans nothing up
            return await LiveJob.start(job, self.context, self.live.append, lambda _: None, commit)

    async def end(self) -> Job:
        """Wait for the end of the job, and store its final record."""
        (live,) = self.live
        async with asyncio.timeout(30):
            if live.is_starting:
                await live.resume()
            job = await live.end()
        await self.context.records.update(job)
        live.release_state()
        return job

    def kill(self) -> None:
        """Close the descriptors of the supervisor, as the kernel does, and stop its timers."""
        (live,) = self.live
        live._kill_timer.close()
        if live._state._timer:
            live._state._timer.cancel()
        resources, processes = live._resources, live._processes
        resources._pump.close()
        processes.control.close()
        self.orphans = {processes._spare_pid, processes._init.pid if processes._init else 0}
        for process in (processes.main, processes._init):
            if process:
                process.close()
        for descriptor in getattr(resources.containment, "_open", ()):
            os.close(descriptor)
        users = self.context.users
        users.release(users.claim(live._state.value.uid))
        if resources._log and self.context.logs.is_live(live.id):
            self.context.logs._live.pop(live.id).close()

    async def succeed(self) -> list[str]:
        """Let the next supervisor take over, and return the ids of the jobs that are not lost."""
        self.holder.arm(-1)
        self.live = []
        adoption = Adoption(self.context, lambda _: None, self.live.append, self.ended.append)
        adopted = await adoption.adopt(self.holder.received())
        self._discard_others()
        return adopted

    def _discard_others(self) -> None:
        """Discard what no job needs, as the keeper does."""
        needed = {pid for live in self.live for pid in live.pids}
        for pid in self.orphans - needed:
            if str(pid) in children():
                self.context.parent.discard(pid)

    async def finish(self) -> Job | None:
        """Take over, and return the final job; None if its command never ran."""
        await self.succeed()
        if self.live:
            return await self.end()
        return self.ended[0] if self.ended else None


async def _nothing(*_: object) -> None:
    return
