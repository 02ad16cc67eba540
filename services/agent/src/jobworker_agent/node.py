"""Keeps the Node object of this host."""

import asyncio
import os
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

import structlog

from jobworker_agent.cluster import Cluster, ClusterUnavailable, NodeView
from jobworker_agent.host import Host
from jobworker_agent.host_errors import HostError
from jobworker_agent.lease import boot_time
from jobworker_agent.node_object import (
    HostState,
    NodeIdentity,
    ReadySince,
    SystemInfo,
    new_node,
    node_changes,
    node_status,
)

CHECK_SECONDS = 5.0
"""Interval of the checks. A deleted Node is noticed, and its lease ends, before the cluster gives it up."""

_SILENCE_SECONDS = 10.0
"""Time for which the server may not answer. It restarts within a few seconds, without an effect on jobs."""

_HEARTBEAT_SECONDS = 60.0
"""Interval of writes of an unchanged status. The Lease tells the cluster that the node is alive."""


class CheckResult(StrEnum):
    """The result of a comparison of the Node with the host."""

    SUCCESS = "success"
    ERROR = "error"


def read_system() -> SystemInfo:
    """Read what the status of the Node says about the system."""
    machine = os.uname().machine
    return SystemInfo(
        machine_id=_line(Path("/etc/machine-id")),
        boot_id=_line(Path("/proc/sys/kernel/random/boot_id")),
        architecture={"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine),
    )


def machine() -> str:
    """Return what identifies this host in the cluster, also after a reboot if it has a machine id."""
    system = read_system()
    return system.machine_id or system.boot_id


class HostWatch:
    """Asks the host for its state, and tolerates a short silence."""

    def __init__(
        self, host: Host, clock: Callable[[], float] = boot_time, *, requires_limits: bool = True
    ) -> None:
        """`requires_limits`: a host that cannot enforce limits is not ready."""
        self._host = host
        self._requires_limits = requires_limits
        self._clock = clock
        self._answered_at = clock()
        self._last: HostState | None = None

    async def check(self) -> HostState | None:
        """Return the state of the host; None if it is not known yet."""
        try:
            answer = await self._host.describe()
        except HostError as error:
            if self._clock() - self._answered_at < _SILENCE_SECONDS:
                return self._last
            known = self._last.host if self._last else None
            return HostState(known, f"jobworkerd does not answer: {error}")
        self._answered_at = self._clock()
        self._last = HostState(answer, answer.limits_problem if self._requires_limits else "")
        return self._last


class NodeKeeper:
    """Creates the Node, and writes its labels and its status when they change."""

    def __init__(
        self,
        identity: NodeIdentity,
        system: SystemInfo,
        cluster: Cluster,
        watch: HostWatch,
        clock: Callable[[], float] = boot_time,
    ) -> None:
        """`cordoned` tells whether the Node gets no new Pods, and `results` counts the checks of `run`."""
        self._identity = identity
        self._system = system
        self._cluster = cluster
        self._watch = watch
        self._clock = clock
        self._uid = ""
        self._written: HostState | None = None
        self._written_at = 0.0
        self._problem = ""
        self.cordoned = False
        self.results: Counter[CheckResult] = Counter()
        self._log: structlog.typing.FilteringBoundLogger = structlog.get_logger()

    def uid(self) -> str:
        """Return the uid of the Node; empty while it does not exist."""
        return self._uid

    @property
    def ready(self) -> bool:
        """Whether the status that was written last says that the Node is ready."""
        return self._written is not None and not self._written.problem

    async def run(self) -> None:
        """Keep the Node until cancelled."""
        while True:
            try:
                await self.check()
            except ClusterUnavailable as error:
                self.results[CheckResult.ERROR] += 1
                self._note(str(error))
            else:
                self.results[CheckResult.SUCCESS] += 1
                self._note("")
            await asyncio.sleep(CHECK_SECONDS)

    async def check(self) -> None:
        """Compare the Node with the host, and correct it.

        Raises:
            ClusterUnavailable: the Node could not be read or written.
        """
        state = await self._watch.check()
        node = await self._cluster.node()
        if node is None:
            node = await self._register()
        elif self._uid != node.uid:
            # Another host with the same name would start the same jobs, and report those of this one as lost.
            await self._cluster.claim_node()
            await self._adopt(node)
        if node is None:
            return
        self._uid = node.uid
        self.cordoned = node.unschedulable
        if state and self._is_due(state, node):
            await self._write_status(state, node)

    async def _register(self) -> NodeView | None:
        self._uid = ""
        self._written = None
        await self._cluster.create_node(new_node(self._identity, self._system))
        self._log.info("node registered", node=self._identity.name)
        return await self._cluster.node()

    async def _adopt(self, node: NodeView) -> None:
        """Give a Node that existed before the labels and annotations of the configuration."""
        if not node.tainted:
            self._log.warning("node has no taint", node=self._identity.name)
        await self._cluster.patch_node(node_changes(self._identity, self._system, node.annotations))

    def _is_due(self, state: HostState, node: NodeView) -> bool:
        changed = state != self._written or node.ready != state.ready
        return changed or self._clock() - self._written_at >= _HEARTBEAT_SECONDS

    async def _write_status(self, state: HostState, node: NodeView) -> None:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        since = node.ready_since if node.ready == state.ready and node.ready_since else now
        await self._cluster.patch_node_status(
            node_status(self._identity, self._system, state, ReadySince(now, since))
        )
        if node.ready != state.ready:
            self._log_ready(state)
        self._written = state
        self._written_at = self._clock()

    def _log_ready(self, state: HostState) -> None:
        if state.problem:
            self._log.warning("node not ready", node=self._identity.name, error=state.problem)
        else:
            self._log.info("node ready", node=self._identity.name)

    def _note(self, problem: str) -> None:
        if problem and not self._problem:
            self._log.warning("node not written", node=self._identity.name, error=problem)
        elif self._problem and not problem:
            self._log.info("node written again", node=self._identity.name)
        self._problem = problem


def _line(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
