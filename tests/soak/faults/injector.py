"""Injects faults at random moments, and waits until the server answers again."""

import asyncio
import os
import random
import signal
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing, suppress
from time import monotonic

from jobworker_client.errors import JobWorkerError
from live import Server
from tests.soak.faults import parts
from tests.soak.faults.calls import Calls
from tests.soak.faults.ledger import Ledger, NoRecovery, Window
from tests.soak.faults.log_files import lacks_record
from tests.soak.faults.patience import BACK_SECONDS
from tests.soak.faults.plan import Kind
from tests.soak.faults.state_disk import StateDisk

_POLL_SECONDS = 0.02
_PAUSE_SECONDS = 1.2
_STARTS_SECONDS = 0.05, 0.2
"""Commands that do not wait for their records run within this time. After a second, the jobs are refused."""

_MOVES_SECONDS, _TRY_SECONDS = 4.0, 0.005
"""The longest search for a moment between a move of output and its record, and the longest pause in it."""

_AT_ONCE = 0.15
"""Share of the faults that follow the one before without waiting for its recovery."""

Fault = Callable[[], Awaitable[None]]


@asynccontextmanager
async def _any_moment(_supervisor: int) -> AsyncIterator[None]:
    yield


class Injector:
    """The faults of one run."""

    def __init__(
        self,
        server: Server,
        disk: StateDisk,
        calls: Calls,
        ledger: Ledger,
        create_jobs: Callable[[Kind | None], None],
        *,
        steps_clock: bool,
    ) -> None:
        """`create_jobs` lets clients create jobs now.

        `steps_clock` steps the clock in place of filling the disk.
        """
        self._create_jobs = create_jobs
        self._server = server
        self._disk = disk
        self._calls = calls
        self._ledger = ledger
        self._rng = random.Random(f"{ledger.seed}/faults")
        self._start, self._start_wall = monotonic(), time.time()
        self._audit: asyncio.Task[None] | None = None
        self._faults: dict[str, tuple[int, Fault]] = {
            "kill API process": (34, self._kill_api),
            "kill fork server": (14, self._kill_fork_server),
        }
        if not steps_clock:  # the times of losses are those of the wall clock
            self._faults["disk full"] = (10, self._fill_disk)
        if parts.has_keeper(server):
            self._faults["kill supervisor"] = (28, self._kill_supervisor)
            self._faults["reload"] = (14, self._reload)
        if steps_clock:
            self._faults["clock step"] = (20, self._step_clock)

    async def run(self, until: float) -> None:
        """Inject faults until a monotonic time, and wait for the recovery from the last one."""
        weights = [weight for weight, _ in self._faults.values()]
        while monotonic() < until:
            name = self._rng.choices(list(self._faults), weights)[0]
            await self._inject(name)
            if self._rng.random() < _AT_ONCE:
                await asyncio.sleep(self._rng.uniform(0, 0.3))
                second = self._rng.choices(list(self._faults), weights)[0]
                await self._inject(second)
                name = f"{name}, {second}"
            await self._recover(name)
            await asyncio.sleep(self._rng.expovariate(1 / _PAUSE_SECONDS))
        if self._audit:
            await self._audit

    async def _inject(self, name: str) -> None:
        self._ledger.counts[f"fault: {name}"] += 1
        self._ledger.counts["faults"] += 1
        self._ledger.note(f"fault: {name}")
        await self._faults[name][1]()

    async def _recover(self, name: str) -> None:
        """Wait for an answer, then check that all jobs are still there."""
        start = monotonic()
        try:
            async with asyncio.timeout(BACK_SECONDS):
                await self._answer()
        except TimeoutError:
            self._ledger.violation(f"no answer {BACK_SECONDS} s after: {name}")
            raise NoRecovery(name) from None
        seconds = monotonic() - start
        self._ledger.recoveries.setdefault(name, []).append(seconds)
        self._ledger.note(f"recovered in {seconds:.2f} s from: {name}")
        if self._audit is None or self._audit.done():
            self._audit = asyncio.create_task(self._calls.list_all())

    async def _answer(self) -> None:
        while True:
            try:
                async for _ in self._calls.client.list(limit=1):
                    pass
            except JobWorkerError as error:
                if not error.retryable:
                    self._ledger.violation("no recovery", None, error)
                await asyncio.sleep(_POLL_SECONDS)
            else:
                return

    async def _kill_api(self) -> None:
        self._kill(self._rng.choice(parts.pids_of(self._server, parts.API) or [0]))

    async def _kill_fork_server(self) -> None:
        self._kill(parts.fork_server_pid(self._server) or 0)

    async def _kill_supervisor(self) -> None:
        """Kill the supervisor at any moment, while it starts jobs, or while it moves output."""
        old = parts.supervisor_pid(self._server)
        if old:
            moment = self._rng.choice((_any_moment, self._starts, self._moves))
            async with moment(old):
                self._kill(old)
        await self._replaced(old, "kill supervisor")

    @asynccontextmanager
    async def _starts(self, _supervisor: int) -> AsyncIterator[None]:
        """Enter while the supervisor starts jobs whose records wait: another program locks the database."""
        assert self._server.state
        file = self._server.state / "state" / "jobworker.db"
        with closing(sqlite3.connect(file, timeout=1.0, isolation_level=None)) as database:
            with suppress(sqlite3.OperationalError):  # the disk is full, or the file is in use
                database.execute("BEGIN IMMEDIATE")
            self._create_jobs(None)
            await asyncio.sleep(self._rng.uniform(*_STARTS_SECONDS))
            yield

    @asynccontextmanager
    async def _moves(self, supervisor: int) -> AsyncIterator[None]:
        """Enter, with the supervisor stopped, when it has moved output of which the log has no record yet.

        If this does not happen in time, the supervisor runs.
        """
        self._create_jobs(Kind.NOISY)
        end = monotonic() + _MOVES_SECONDS
        with suppress(ProcessLookupError):  # another fault has ended it
            while monotonic() < end and not self._stop_in_a_move(supervisor):
                await asyncio.sleep(self._rng.uniform(0, _TRY_SECONDS))
        yield

    def _stop_in_a_move(self, supervisor: int) -> bool:
        """Stop the supervisor, and let it continue if each log has a record of all its bytes."""
        os.kill(supervisor, signal.SIGSTOP)
        while not parts.is_stopped(supervisor):
            os.kill(supervisor, 0)
        if any(map(self._lacks_record, list(self._ledger.live))):
            self._ledger.counts["kills between a move and its record"] += 1
            return True
        os.kill(supervisor, signal.SIGCONT)
        return False

    def _lacks_record(self, job_id: str) -> bool:
        with suppress(FileNotFoundError):  # the job waits in the queue
            return lacks_record(parts.job_directory(self._server, job_id))
        return False

    async def _reload(self) -> None:
        assert self._server.process
        old = parts.supervisor_pid(self._server)
        self._server.process.send_signal(signal.SIGHUP)
        await self._replaced(old, "reload")

    async def _replaced(self, old: int | None, fault: str) -> None:
        """Wait until another supervisor runs."""
        start = monotonic()
        while monotonic() < start + BACK_SECONDS:
            if parts.supervisor_pid(self._server) not in {None, old}:
                return
            await asyncio.sleep(_POLL_SECONDS)
        self._ledger.violation(f"no new supervisor after: {fault}")
        raise NoRecovery(fault)

    async def _fill_disk(self) -> None:
        """Fill the disk for a moment; sometimes the supervisor dies meanwhile."""
        window = Window(monotonic(), time.time())
        self._ledger.windows.append(window)
        self._disk.fill()
        try:
            await asyncio.sleep(self._rng.uniform(0.2, 2.0))
            self._disk.fill()
            if "kill supervisor" in self._faults and self._rng.random() < 0.3:
                await self._inject("kill supervisor")
                await asyncio.sleep(self._rng.uniform(0.2, 1.5))
        finally:
            self._disk.free()
            window.end, window.end_wall = monotonic(), time.time()

    async def _step_clock(self) -> None:
        """Step the wall clock, but never to a time before the start, when certificates are not valid yet."""
        now = self._start_wall + monotonic() - self._start
        time.clock_settime(time.CLOCK_REALTIME, now + self._rng.uniform(0, 3_600))

    def _kill(self, pid: int) -> None:
        """Kill a process. 0 stands for one that a fault before has already killed."""
        if pid:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
