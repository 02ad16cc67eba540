"""One of the clients of the fault test: it creates, reads, changes, stops and deletes jobs at random."""

import asyncio
import random
from collections.abc import Coroutine
from time import monotonic
from typing import Any

from jobworker_client.aio.client import Client
from jobworker_client.errors import JobWorkerError
from tests.soak.faults.calls import Calls
from tests.soak.faults.ledger import Entry, Ledger
from tests.soak.faults.plan import STDERR, STDOUT, JobFiles, Kind, make_plan
from tests.soak.faults.reader import Reader

_LIVE_MAX = 40
_KEPT_MAX = 800
_ACTIONS_PER_SECOND = 12
_WATCH_SECONDS = 0.2


class Numbers:
    """Numbers the jobs of all clients."""

    def __init__(self) -> None:
        self._next = 0

    def take(self) -> int:
        """Return the number of the next job."""
        self._next += 1
        return self._next


class Worker:
    """A client that acts at random until a time."""

    def __init__(
        self, name: int, client: Client, ledger: Ledger, files: JobFiles, numbers: Numbers, *, queues: bool
    ) -> None:
        self._rng = random.Random(f"{ledger.seed}/client/{name}")
        self._client = client
        self._ledger = ledger
        self._numbers = numbers
        self._queues = queues
        self._pattern = files.pattern.read_bytes()
        self._tasks: set[asyncio.Task[None]] = set()
        self.calls = Calls(client, ledger, files, self._rng)

    async def run(self, until: float) -> None:
        """Act until a monotonic time, then wait for the calls that are still open."""
        actions = {
            self._create: 40,
            self._read: 14,
            self._get: 8,
            self.calls.list_some: 3,
            self._update: 6,
            self._stop: 6,
            self._delete: 23,
        }
        while monotonic() < until:
            action = self._rng.choices(list(actions), list(actions.values()))[0]
            await self.guard(action())
            await asyncio.sleep(self._rng.expovariate(_ACTIONS_PER_SECOND))
        await asyncio.gather(*self._tasks)

    async def run_one(self) -> None:
        """Run one job to its end."""
        entry = await self.calls.create(make_plan(self._ledger.seed, self._numbers.take(), queues=False))
        assert entry
        await self._finish(entry)

    async def guard(self, action: Coroutine[Any, Any, Any]) -> None:
        """Run an action; each error that it does not expect is a violation."""
        try:
            await action
        except JobWorkerError as error:
            kind = f"{type(error).__name__} {error.code} {error.reason} after {error.retries} retries"
            self._ledger.violation("unexpected error", None, f"{action}: {kind}: {error}")

    def _later(self, action: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.create_task(self.guard(action))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def create_now(self, kind: Kind | None = None) -> None:
        """Create a job in addition to the random actions; None for a random kind."""
        self._later(self._create(kind))

    async def _create(self, kind: Kind | None = None) -> None:
        if kind is None and len(self._ledger.live) >= _LIVE_MAX:
            return
        plan = make_plan(self._ledger.seed, self._numbers.take(), queues=self._queues, kind=kind)
        entry = await self.calls.create(plan)
        if entry:
            self._later(self._finish(entry))
        if entry and entry.queued_from_ns:
            self._later(self._watch_wait(entry))

    async def _watch_wait(self, entry: Entry) -> None:
        """Read the record of a waiting job again and again, to know when it has left the queue."""
        while not (entry.start_time_ns or entry.final or entry.delete_requested):
            await self.calls.get(entry)
            await asyncio.sleep(_WATCH_SECONDS)

    async def _finish(self, entry: Entry) -> None:
        """Stop a job that does not end by itself, and wait for most others in some way."""
        if entry.plan.kind in {Kind.ENDLESS, Kind.STUBBORN}:
            await asyncio.sleep(self._rng.expovariate(0.6))
            await self.calls.stop(entry, None)
        elif self._rng.random() < 0.4:
            await self.read_whole(entry)
        else:
            await self.calls.wait(entry)

    async def read_whole(self, entry: Entry, *, written: bool = False) -> None:
        """Read the log of a job from its start to its end."""
        if entry.log:
            await self._reader(entry).read_whole(written=written)

    def _reader(self, entry: Entry) -> Reader:
        assert entry.log
        return Reader(self._client, self._ledger, self._pattern, self._rng, entry, entry.log)

    async def _read(self) -> None:
        """Read from a random offset, sometimes of one source."""
        entry = self._pick(self._ledger.live if self._rng.random() < 0.6 else self._ledger.ended)
        if entry and entry.log:
            source = self._rng.choice((None, None, STDOUT, STDERR))
            offset = self._rng.randint(0, entry.log.size)
            self._later(self._read_from(entry, offset, source))

    async def _read_from(self, entry: Entry, offset: int, source: int | None) -> None:
        if entry.log:  # another worker can have deleted the job
            await self._reader(entry).read(offset, follow=self._rng.random() < 0.7, source=source)

    async def _get(self) -> None:
        entry = self._pick(self._ledger.by_id)
        if entry and (not entry.delete_requested or self._rng.random() < 0.2):
            await self.calls.get(entry)

    async def _update(self) -> None:
        if entry := self._pick(self._ledger.live):
            await self.calls.update(entry)

    async def _stop(self) -> None:
        if entry := self._pick(self._ledger.live):
            self._later(self.calls.stop(entry, self._rng.choice((None, 0, 0.2))))

    async def _delete(self) -> None:
        if len(self._ledger.ended) > _KEPT_MAX / 4 and (entry := self._pick(self._ledger.ended)):
            await self.calls.delete(entry)
        while len(self._ledger.ended) > _KEPT_MAX and (entry := self._pick(self._ledger.ended)):
            await self.calls.delete(entry)

    def _pick(self, jobs: dict[str, Entry]) -> Entry | None:
        return jobs[self._rng.choice(list(jobs))] if jobs else None
