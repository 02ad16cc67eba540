"""Cuts links and kills programs of a cluster at random moments."""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Coroutine
from time import monotonic, time

import psutil
import restarts

from tests.cluster.faults.ledger import Absence, Ledger
from tests.cluster.hosts import Host
from tests.cluster.leaders import etcd_leader, lease_leader
from tests.cluster.whole import Cluster

_PAUSE_SECONDS = 1.5
_LONG_CUT = "cut link of a host for long"
_SHORT_CUT_SECONDS = 1.0, 8.0
_LONG_CUT_SECONDS = 30.0, 40.0
"""Longer than the 25 s after which a gateway records the jobs of the host as lost."""

Fault = Callable[[], Awaitable[None]]


class Injector:
    """The faults of one run. At most one host at a time is cut off or without power."""

    def __init__(self, cluster: Cluster, ledger: Ledger) -> None:
        self._cluster = cluster
        self._ledger = ledger
        self._rng = random.Random(f"{ledger.seed}/faults")
        self._away: asyncio.Task[None] | None = None
        self._faults: dict[str, tuple[int, Fault]] = {
            "cut link of a host": (10, self._cut_link),
            _LONG_CUT: (3, self._cut_link_for_long),
            "kill all of a host": (2, self._power_off),
            "kill agent": (10, self._kill_agent),
            "kill supervisor": (10, self._kill_supervisor),
            "kill API process": (10, self._kill_api_process),
            "kill gateway": (10, self._kill_gateway),
            "kill apiserver": (5, self._kill_apiserver),
            "kill etcd leader": (5, self._kill_etcd_leader),
            "kill scheduler leader": (4, self._kill_scheduler_leader),
            "kill controller manager leader": (3, self._kill_controllers_leader),
        }

    async def run(self, until: float) -> None:
        """Inject faults until a monotonic time, and then a long cut. Heal all links at the end.

        The host of the last cut has jobs that would still run when all is healed.
        """
        weights = [weight for weight, _ in self._faults.values()]
        try:
            while monotonic() < until:
                await self._inject(self._rng.choices(list(self._faults), weights)[0])
                await asyncio.sleep(self._rng.expovariate(1 / _PAUSE_SECONDS))
            await self._inject(_LONG_CUT)
        finally:
            if self._away:
                await self._away
            self._cluster.network.heal_all()
            self._ledger.note("healed")

    async def _inject(self, name: str) -> None:
        self._ledger.counts[f"fault: {name}"] += 1
        self._ledger.counts["faults"] += 1
        self._ledger.note(f"fault: {name}")
        await self._faults[name][1]()

    def _host(self) -> Host:
        return self._rng.choice(self._cluster.hosts)

    async def _cut_link(self) -> None:
        await self._leave(self._cut(self._host(), self._rng.uniform(*_SHORT_CUT_SECONDS)))

    async def _cut_link_for_long(self) -> None:
        await self._leave(self._cut(self._host(), self._rng.uniform(*_LONG_CUT_SECONDS)))

    async def _power_off(self) -> None:
        await self._leave(self._without_power(self._host(), self._rng.uniform(*_SHORT_CUT_SECONDS)))

    async def _leave(self, absence: Coroutine[None, None, None]) -> None:
        """Let a host be away in the background, after the host before is back."""
        if self._away:
            await self._away
        self._away = asyncio.create_task(absence)

    async def _cut(self, host: Host, seconds: float) -> None:
        self._ledger.note(f"{host.name} is cut off for {seconds:.1f} s")
        begin = time()
        self._cluster.network.cut(host.place)
        try:
            await asyncio.sleep(seconds)
        finally:
            self._cluster.network.heal(host.place)
            self._ledger.absences.append(Absence(host.name, begin, time(), had_power=True))
        self._ledger.note(f"{host.name} is connected")

    async def _without_power(self, host: Host, seconds: float) -> None:
        self._ledger.note(f"{host.name} is off for {seconds:.1f} s")
        begin = time()
        await asyncio.to_thread(host.power_off)
        await asyncio.sleep(seconds)
        await asyncio.to_thread(host.power_on)
        self._ledger.absences.append(Absence(host.name, begin, time(), had_power=False))
        self._ledger.note(f"{host.name} is on")

    async def _kill_agent(self) -> None:
        self._host().agent.kill()

    async def _kill_supervisor(self) -> None:
        with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):
            restarts.supervisor(self._host().server).kill()

    async def _kill_api_process(self) -> None:
        with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):
            restarts.api_process(self._host().server).kill()

    async def _kill_gateway(self) -> None:
        self._rng.choice(self._cluster.gateways).service.kill()

    async def _kill_apiserver(self) -> None:
        self._rng.choice(self._cluster.control_plane.apiservers).kill()

    async def _kill_etcd_leader(self) -> None:
        if leader := await asyncio.to_thread(etcd_leader, self._cluster.control_plane):
            leader.kill()

    async def _kill_scheduler_leader(self) -> None:
        lease_leader(self._cluster.control_plane.schedulers).kill()

    async def _kill_controllers_leader(self) -> None:
        lease_leader(self._cluster.control_plane.controller_managers).kill()
