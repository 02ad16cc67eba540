"""Collects the values of all metrics at the time of a scrape."""

import os
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from jobworker_agent.lease import NodeLease, RenewalResult
from jobworker_agent.metrics import definitions as metrics
from jobworker_agent.metrics.definitions import Metric
from jobworker_agent.metrics.text_format import Series, render
from jobworker_agent.node import CheckResult, NodeKeeper
from jobworker_agent.orphans import Orphans
from jobworker_agent.pod_run import StepCounts, StepResult
from jobworker_agent.pod_runs import PodRuns
from jobworker_agent.steps import STEP_NAMES, PodState

_STATM = Path("/proc/self/statm")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class NodeParts:
    """The parts of a running agent that know its state. `steps` counts those of all jobs."""

    lease: NodeLease
    node: NodeKeeper
    runs: PodRuns
    orphans: Orphans
    steps: StepCounts


class AgentMetrics:
    """The metrics of one agent. All values come from memory, so a scrape does not block."""

    def __init__(
        self,
        parts: NodeParts,
        calls: "Counter[tuple[str, int]]",
        expiries: Callable[[], Mapping[str, float]],
    ) -> None:
        """`calls` counts the calls to the API server, by method and status.

        `expiries` returns when each certificate in use expires, in seconds since the epoch.
        """
        self._parts = parts
        self._calls = calls
        self._expiries = expiries

    def render(self) -> str:
        """Return the metrics in Prometheus' text form."""
        return render(self._families())

    def _families(self) -> dict[Metric, Series]:
        """Return the series of all metrics. Counters whose labels are known beforehand begin with 0."""
        lease, node, runs = self._parts.lease, self._parts.node, self._parts.runs
        states = runs.states()
        return {
            metrics.LEASE_RENEWALS: {(each,): lease.results[each] for each in RenewalResult},
            metrics.LEASE_AGE: {(): lease.age},
            metrics.LEASE_HELD: {(): int(lease.held)},
            metrics.NODE_CHECKS: {(each,): node.results[each] for each in CheckResult},
            metrics.NODE_READY: {(): int(node.ready)},
            metrics.NODE_CORDONED: {(): int(node.cordoned)},
            metrics.PODS: {(each,): states[each] for each in PodState},
            metrics.JOB_STEPS: {
                (step, result): self._parts.steps[step, result]
                for step in STEP_NAMES
                for result in StepResult
            },
            metrics.ORPHANS_STOPPED: {(): self._parts.orphans.stopped},
            metrics.KUBERNETES_CALLS: {
                (method, str(code)): count for (method, code), count in sorted(self._calls.items())
            },
            metrics.CERTIFICATE_EXPIRY: {(name,): expiry for name, expiry in self._expiries().items()},
            metrics.PROCESS_CPU_TIME: {("agent",): time.process_time()},
            metrics.PROCESS_MEMORY: _memory(),
        }


def _memory() -> Series:
    with suppress(OSError):  # without a free descriptor
        return {("agent",): int(_STATM.read_text().split()[1]) * _PAGE_BYTES}
    return {}
