"""The lease of the node. Jobs that can start again elsewhere end with it."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from enum import StrEnum

import structlog

from jobworker_agent.cluster import Cluster, ClusterUnavailable
from jobworker_agent.host import Host
from jobworker_agent.host_errors import HostError

LEASE_SECONDS = 15
"""Validity of both leases. The gateway waits 10 s longer before it gives up a node."""

RENEW_SECONDS = 3.0

_REGISTER_SECONDS = 0.2
"""Interval of the checks whether the Node exists by now. No job starts before the first renewal."""

_CALL_SECONDS = 5.0
"""Maximum time of a renewal. A renewal that arrives later is of little use, and the next one has to try."""


class RenewalResult(StrEnum):
    """The result of a renewal: success, or the program that did not renew the lease."""

    SUCCESS = "success"
    KUBERNETES_ERROR = "kubernetes_error"
    JOBWORKERD_ERROR = "jobworkerd_error"


def boot_time() -> float:
    """Return the time since the start of the host, including the time for which it was suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class NodeLease:
    """Renews the Lease of the node in the cluster, and after each success the lease of the host.

    The cluster may believe that the node is alive from the moment of a renewal on. So the lease of the host
    is counted from before that moment: it always ends before the cluster gives up the node.
    """

    def __init__(
        self,
        cluster: Cluster,
        host: Host,
        node_uid: Callable[[], str],
        on_return: Callable[[], None],
        clock: Callable[[], float] = boot_time,
    ) -> None:
        """`node_uid` returns the uid of the Node; empty while it does not exist.

        `on_return` is called when the cluster answers again after a failure, or after the end of the lease.
        """
        self._cluster = cluster
        self._host = host
        self._node_uid = node_uid
        self._on_return = on_return
        self._clock = clock
        self._ends_at = 0.0
        self._held_since = 0.0
        self._log: structlog.typing.FilteringBoundLogger = structlog.get_logger()
        self._problem = ""
        self._cut_off = False
        self._renewed_at = clock()
        self.results: Counter[RenewalResult] = Counter()

    @property
    def age(self) -> float:
        """Seconds since the cluster accepted the last renewal; since the start of the agent before that."""
        return self._clock() - self._renewed_at

    @property
    def held(self) -> bool:
        """Whether the cluster counts on this node, so that jobs may start."""
        return self._clock() < self._ends_at

    @property
    def held_since(self) -> float | None:
        """The boot time since which the lease was always held; None if it is not."""
        return self._held_since if self.held else None

    async def run(self) -> None:
        """Renew the lease until cancelled."""
        while True:
            next_at = self._clock() + (RENEW_SECONDS if self._node_uid() else _REGISTER_SECONDS)
            await self.renew()
            await asyncio.sleep(max(0.0, next_at - self._clock()))

    async def renew(self) -> None:
        """Renew the lease once. A failure is logged when it is new."""
        if not (node_uid := self._node_uid()):
            return  # a Node that was deleted must not keep its jobs
        began = self._clock()
        if 0 < self._ends_at <= began:  # also without a failure, if the host was suspended
            self._cut_off = True
        try:
            async with asyncio.timeout(_CALL_SECONDS):
                await self._cluster.renew_lease(LEASE_SECONDS, node_uid)
            self._cluster_answers()
            if not self.held:
                self._held_since = self._clock()
            self._renewed_at, self._ends_at = began, began + LEASE_SECONDS
            left = self._ends_at - self._clock()
            if left > 0:
                await self._host.renew_lease(left, self._ends_at)
        except ClusterUnavailable as error:
            self._cut_off = True
            self._note(f"Kubernetes: {error}", RenewalResult.KUBERNETES_ERROR)
        except TimeoutError:
            self._cut_off = True
            self._note("Kubernetes: no answer in time", RenewalResult.KUBERNETES_ERROR)
        except HostError as error:
            self._note(f"jobworkerd: {error}", RenewalResult.JOBWORKERD_ERROR)
        else:
            self._note("", RenewalResult.SUCCESS)

    def _cluster_answers(self) -> None:
        if self._cut_off:
            self._cut_off = False
            self._on_return()

    def _note(self, problem: str, result: RenewalResult) -> None:
        self.results[result] += 1
        if problem and not self._problem:
            self._log.warning("lease not renewed", error=problem)
        elif self._problem and not problem:
            self._log.info("lease renewed again")
        self._problem = problem
