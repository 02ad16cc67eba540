"""Calls that one client repeats until the server answers, with the checks of each answer."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import TypeVar

from jobworker.v1 import job_pb2
from jobworker_client.aio.client import Client
from jobworker_client.errors import HostExhausted, JobNotFound, JobNotRunning, JobWorkerError, TooManyJobs
from jobworker_client.options import JobOptions, Limits
from tests.soak.faults.final import observe
from tests.soak.faults.ledger import FINAL, Entry, Ledger
from tests.soak.faults.patience import AWAY_SECONDS
from tests.soak.faults.plan import JobFiles, JobPlan

T = TypeVar("T")

_STOP_SECONDS = 1.5 * AWAY_SECONDS
_WAIT_SECONDS = 2 * AWAY_SECONDS
_PAUSE_SECONDS = 0.1
_MAX_CPU = 400
_FREE_AGAIN_SECONDS = 1.0
"""The server may refuse requests for this long after the disk has space again."""


class Calls:
    """The calls of one client."""

    def __init__(self, client: Client, ledger: Ledger, files: JobFiles, rng: random.Random) -> None:
        self.client = client
        self.ledger = ledger
        self.rng = rng
        self._files = files

    async def persist(self, make: Callable[[], Awaitable[T]]) -> tuple[T, int]:
        """Repeat a call until the server answers; return the answer and the number of calls.

        Raises:
            JobWorkerError: the server refused the call, or stayed away for too long.
        """
        end, calls = monotonic() + AWAY_SECONDS, 0
        while True:
            calls += 1
            self.ledger.counts["calls"] += 1
            try:
                return await make(), calls
            except JobWorkerError as error:
                if not error.retryable or monotonic() > end:
                    error.retries += calls - 1
                    raise
            self.ledger.counts["repeated calls"] += 1
            await asyncio.sleep(_PAUSE_SECONDS)

    async def create(self, plan: JobPlan) -> Entry | None:
        """Create a job, with one request id whatever fails in between; None if the server refused it."""
        entry = self.ledger.entries[plan.request_id] = Entry(plan)
        options = self._options(plan)
        entry.max_cpu = {_MAX_CPU}
        while True:
            since = monotonic()
            try:
                job, _ = await self.persist(
                    lambda: self.client.create("sh", "-c", plan.script(self._files), **options)
                )
            except TooManyJobs:
                self.ledger.counts["refused: too many jobs"] += 1
                entry.refused = True
                return None
            except HostExhausted as error:
                self.check_full(since, error, entry)
                if self.rng.random() < 0.5:
                    entry.refused = True
                    return None
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            self.ledger.acknowledge(entry, job.id)
            observe(self.ledger, job, since, "create")
            return entry

    def _options(self, plan: JobPlan) -> JobOptions:
        options: JobOptions = {
            "limits": Limits(max_cpu=_MAX_CPU, max_memory=64),
            "labels": {"rid": plan.request_id, "kind": plan.kind},
            "request_id": plan.request_id,
            "stop_grace_period": plan.grace_period,
        }
        if plan.timeout is not None:
            options["timeout"] = plan.timeout
        if plan.queue_timeout is not None:
            options["queue_timeout"] = plan.queue_timeout
            options["priority"] = plan.priority
        return options

    def check_full(self, since: float, error: JobWorkerError, entry: Entry | None) -> None:
        """Record a refusal for lack of space, which is a violation unless the disk was full."""
        self.ledger.counts["refused: disk full"] += 1
        if not self.ledger.was_full(since - _FREE_AGAIN_SECONDS, monotonic()):
            self.ledger.violation("refused although the disk has space", entry, error)

    async def get(self, entry: Entry) -> None:
        """Read a record."""
        since = monotonic()
        await self._found(entry, since, "get", lambda: self.client.get(entry.job_id))

    async def wait(self, entry: Entry) -> None:
        """Wait for the end of a job."""
        since = monotonic()
        await self._found(
            entry, since, "wait", lambda: self.client.wait(entry.job_id, deadline=_WAIT_SECONDS)
        )

    async def stop(self, entry: Entry, grace_period: float | None) -> None:
        """Stop a job."""
        entry.stop_requested = True
        since = monotonic()
        self.ledger.counts["stops"] += 1
        job = await self._found(
            entry,
            since,
            "stop",
            lambda: self.client.stop(entry.job_id, grace_period=grace_period, deadline=_STOP_SECONDS),
        )
        if job and job.status not in FINAL:
            self.ledger.violation("a stopped job is not final", entry, job.status)

    async def _found(
        self, entry: Entry, since: float, via: str, make: Callable[[], Awaitable[job_pb2.Job]]
    ) -> job_pb2.Job | None:
        try:
            job, _ = await self.persist(make)
        except JobNotFound:
            if not entry.delete_requested:
                self.ledger.violation("an acknowledged job is not found", entry, via)
            return None
        observe(self.ledger, job, since, via)
        return job

    async def update(self, entry: Entry) -> None:
        """Change a limit; later records must have it."""
        if entry.updating:
            return
        entry.updating, before, value = True, set(entry.max_cpu), self.rng.randrange(50, 800)
        entry.max_cpu |= {value}
        since = monotonic()
        try:
            job, _ = await self.persist(lambda: self.client.update(entry.job_id, max_cpu=value))
            entry.max_cpu, entry.max_cpu_at = {value}, monotonic()
            self.ledger.counts["updates"] += 1
            if job.max_cpu != value:
                self.ledger.violation("an update had no effect", entry, f"{job.max_cpu} is not {value}")
        except JobNotRunning as error:
            if not error.retries:
                entry.max_cpu = before
        except JobNotFound:
            if not entry.delete_requested:
                self.ledger.violation("an acknowledged job is not found", entry, f"update since {since}")
        finally:
            entry.updating = False

    async def delete(self, entry: Entry) -> None:
        """Delete a final job."""
        if entry.delete_requested:
            return
        entry.delete_requested, since = True, monotonic()
        try:
            await self.persist(lambda: self.client.delete(entry.job_id))
        except JobNotFound as error:
            if not error.retries:
                self.ledger.violation("an acknowledged job is not found", entry, "delete")
        except HostExhausted as error:
            self.check_full(since, error, entry)
            entry.delete_requested = False
            return
        self.ledger.delete(entry)

    async def list_some(self) -> None:
        """List jobs with a filter."""
        since, status = monotonic(), self.rng.choice([*FINAL, job_pb2.JOB_STATUS_RUNNING])

        async def listed() -> list[job_pb2.Job]:
            return [job async for job in self.client.list(statuses=[status], limit=40)]

        jobs, _ = await self.persist(listed)
        for job in jobs:
            observe(self.ledger, job, since, "list")
            if job.status != status:
                self.ledger.violation("list ignores its filter", None, f"{job.id}: {job.status}")

    async def list_all(self) -> None:
        """Check that a list has each job that exists exactly once, newest first, and no deleted job."""
        since, expected = monotonic(), self.ledger.present()

        async def listed() -> list[job_pb2.Job]:
            return [job async for job in self.client.list(page_size=1_000)]

        jobs, _ = await self.persist(listed)
        for job in jobs:
            observe(self.ledger, job, since, "list")
        ids = [job.id for job in jobs]
        if ids != sorted(ids, reverse=True):
            self.ledger.violation("a list is not in order", None)
        found = Counter(ids)
        for entry in expected:
            if entry.exists and found[entry.job_id] != 1:
                self.ledger.violation("a list lacks a job", entry, f"found {found[entry.job_id]} times")
        for job_id, times in found.items():
            if times > 1:
                self.ledger.violation("a list repeats a job", None, job_id)
        self.ledger.counts["complete lists"] += 1
