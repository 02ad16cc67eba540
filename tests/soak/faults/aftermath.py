"""The checks at the end of a run: every job, every command that ran, and everything that is left."""

import asyncio
import sqlite3
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil

from live import Server, pids_with
from tests.soak.faults.ledger import Entry, Ledger
from tests.soak.faults.parts import Held, Memory
from tests.soak.faults.patience import AWAY_SECONDS
from tests.soak.faults.plan import JobFiles, Kind
from tests.soak.faults.worker import Worker

_JOBS_PER_CLIENT = 15
_KEEPER_MIB, _SUPERVISOR_MIB = 2.0, 3.0
"""With the jobs of 20 clients, the supervisor may grow by 10 KiB per job. Its caches take a part of that."""


class Aftermath:
    """The end of a run."""

    def __init__(self, server: Server, ledger: Ledger, files: JobFiles, workers: list[Worker]) -> None:
        self._server = server
        self._ledger = ledger
        self._files = files
        self._workers = workers

    async def end_jobs(self) -> None:
        """Wait until all jobs have ended, and stop those that do not end by themselves."""

        async def end(worker: Worker, entry: Entry) -> None:
            if not entry.plan.ends:
                await worker.calls.stop(entry, None)
            await worker.calls.wait(entry)

        await self._share([each for each in self._ledger.present() if each.final is None], end)

    async def check_jobs(self) -> None:
        """Read every job that exists from start to end, and list all."""
        written = {request_id for mark, request_id in self._files.marks() if mark == "written"}

        async def check(worker: Worker, entry: Entry) -> None:
            await worker.calls.get(entry)
            await worker.read_whole(entry, written=entry.plan.request_id in written)

        await self._share(self._ledger.present(), check)
        await self._workers[0].guard(self._workers[0].calls.list_all())
        self._check_marks()

    def _check_marks(self) -> None:
        """Check that no command ran twice, and that only the commands of created jobs ran."""
        ran = Counter(request_id for mark, request_id in self._files.marks() if mark == "start")
        for request_id, times in ran.items():
            entry = self._ledger.entries.get(request_id)
            if times > 1:
                self._ledger.violation("a command ran more than once", entry, f"{times} times")
            if entry and entry.refused and not entry.job_id:
                self._ledger.violation("the command of a refused job ran", entry)
        for entry in self._ledger.by_id.values():
            started = bool(entry.final and entry.final.HasField("start_time"))
            if entry.plan.request_id in ran and entry.final and not started:
                self._ledger.violation("a command ran without a start time", entry)
            ended_early = entry.stop_requested or entry.plan.kind is Kind.TIMED  # also before the first mark
            if started and not ended_early and ran[entry.plan.request_id] != 1:
                self._ledger.violation("a command did not run", entry)
        self._ledger.counts["commands"] = len(ran)

    async def delete_jobs(self) -> None:
        """Delete all jobs, and check that the list is empty."""

        async def delete(worker: Worker, entry: Entry) -> None:
            await worker.calls.delete(entry)

        await self._share(self._ledger.present(), delete)
        await self._workers[0].guard(self._workers[0].calls.list_all())
        left = [job.id async for job in self._workers[0].calls.client.list()]
        if left:
            self._ledger.violation("jobs are left after all were deleted", None, left[:10])

    async def _share(
        self, entries: list[Entry], act: Callable[[Worker, Entry], Coroutine[Any, Any, None]]
    ) -> None:
        """Let each client act on its share of the jobs."""

        async def share(worker: Worker, mine: list[Entry]) -> None:
            for entry in mine:
                await worker.guard(act(worker, entry))

        count = len(self._workers)
        shares = (entries[number::count] for number in range(count))
        await asyncio.gather(*(share(*each) for each in zip(self._workers, shares, strict=True)))

    async def settled(self) -> Held:
        """Return what the server holds when that has not changed for a while."""
        held, since = Held.by(self._server), 0
        while since < 10:
            await asyncio.sleep(0.2)
            now = Held.by(self._server)
            held, since = now, since + 1 if now == held else 0
        return held

    async def check_held(self, before: Held) -> None:
        """Check that the server holds as much as before the first job."""
        end = asyncio.get_running_loop().time() + AWAY_SECONDS
        while (now := Held.by(self._server)) != before and asyncio.get_running_loop().time() < end:
            await asyncio.sleep(0.2)
        if now != before:
            self._ledger.violation("resources are left", None, before.difference(now))

    async def check_memory(self, before: Memory) -> None:
        """Check that the keeper has not grown since the start, and that the supervisor does not grow now.

        The faults have replaced the supervisor many times, so it runs jobs without a fault here. The first of
        them fill its caches.
        """
        await self._run_jobs()
        between = Memory.by(self._server)
        await self._run_jobs()
        now = Memory.by(self._server)
        self._ledger.note(f"memory: {before} to {between} to {now}")
        if now.keeper > before.keeper + _KEEPER_MIB:
            self._ledger.violation("the keeper has grown", None, f"{before} to {now}")
        if now.supervisor > between.supervisor + _SUPERVISOR_MIB:
            self._ledger.violation("the supervisor has grown", None, f"{between} to {now}")

    async def _run_jobs(self) -> None:
        async def run(worker: Worker) -> None:
            for _ in range(_JOBS_PER_CLIENT):
                await worker.guard(worker.run_one())

        await asyncio.gather(*map(run, self._workers))

    def check_stopped(self, users: range, state: Path) -> None:
        """Check that a stopped server leaves no process and no cgroup, and a whole database."""
        left = [each.pid for each in psutil.process_iter(["uids"]) if each.info["uids"].real in users]
        if left or pids_with(str(self._files.runs)):
            self._ledger.violation("processes are left", None, left)
        base = self._server.cgroup_base
        if base and base.exists():
            self._ledger.violation("a cgroup is left", None, base)
        with closing(sqlite3.connect(state / "jobworker.db")) as database:
            found = database.execute("PRAGMA integrity_check").fetchall()
        if found != [("ok",)]:
            self._ledger.violation("the database is damaged", None, found)
