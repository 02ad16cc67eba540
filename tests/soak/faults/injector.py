"""Injects faults at random moments, and waits until the server answers again."""

import asyncio
import contextlib
import os
import random
import signal
import time
from collections.abc import Awaitable, Callable
from time import monotonic

from jobworker_client.errors import JobWorkerError
from live import Server
from tests.soak.faults import parts
from tests.soak.faults.calls import Calls
from tests.soak.faults.ledger import Ledger, NoRecovery, Window
from tests.soak.faults.patience import BACK_SECONDS
from tests.soak.faults.state_disk import StateDisk

_POLL_SECONDS = 0.02
_PAUSE_SECONDS = 1.2
_STARTS_SECONDS = 0.03
"""The supervisor starts several jobs within this time."""

_AT_ONCE = 0.15
"""Share of the faults that follow the one before without waiting for its recovery."""

Fault = Callable[[], Awaitable[None]]


class Injector:
    """The faults of one run."""

    def __init__(
        self,
        server: Server,
        disk: StateDisk,
        calls: Calls,
        ledger: Ledger,
        create_jobs: Callable[[], None],
        *,
        steps_clock: bool,
    ) -> None:
        """`create_jobs` lets each client create a job now.

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
        """Kill the supervisor; half of the time while it starts several jobs."""
        if self._rng.random() < 0.5:
            self._create_jobs()
            await asyncio.sleep(self._rng.uniform(0, _STARTS_SECONDS))
        old = parts.supervisor_pid(self._server)
        self._kill(old or 0)
        await self._replaced(old, "kill supervisor")

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
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
