"""Checks what the control plane has assigned: the capacity of the hosts, and the priorities of the Pods.

The order in which jobs start is not checked here. The scheduler waits up to 10 s before it tries a job again,
and starts other jobs meanwhile. `test_placement.py` checks the order without faults.
"""

import asyncio
import http.client
from collections import defaultdict
from collections.abc import Callable, Sequence

from jobworker_cluster import names, quantities
from tests.cluster.faults.ledger import Ledger
from tests.cluster.hosts import CPU, MAX_JOBS, MEMORY
from tests.cluster.kube_api import ApiError, Json

_LOOK_SECONDS = 1.0
_CLASSES = (-100, 0, 50, 100)
"""The values in packaging/kubernetes/cluster/priority-classes.yaml."""

_ENDED = ("Succeeded", "Failed")
"""The phases in which a Pod does not use its host any more."""

_Sums = tuple[int, int, int]


class Assignments:
    """The checks of one run. An apiserver has one state of all Pods, which must be right at any time."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._wrong: set[str] = set()

    async def watch(self, list_pods: Callable[[], list[Json]]) -> None:
        """Check all Pods each second until cancelled. `list_pods` asks an apiserver for them."""
        while True:
            try:
                pods = await asyncio.to_thread(list_pods)
            except (ApiError, OSError, http.client.HTTPException):
                self._ledger.counts["looks at the Pods without an answer"] += 1
            else:
                self.check(pods)
            await asyncio.sleep(_LOOK_SECONDS)

    def check(self, pods: Sequence[Json]) -> None:
        """Check the Pods that exist at one time."""
        self._ledger.counts["looks at the Pods"] += 1
        self._check_capacity(pods)
        for pod in pods:
            self._check_priority(pod)
        if any(not pod["spec"].get("nodeName") for pod in pods):
            self._ledger.counts["looks at the Pods while some wait"] += 1

    def _check_capacity(self, pods: Sequence[Json]) -> None:
        used: defaultdict[str, _Sums] = defaultdict(lambda: (0, 0, 0))
        for pod in pods:
            node = pod["spec"].get("nodeName")
            if node and pod["status"].get("phase") not in _ENDED:
                used[node] = _add(used[node], _request(pod))
        for node, sums in used.items():
            if any(amount > most for amount, most in zip(sums, (CPU, MEMORY, MAX_JOBS), strict=True)):
                detail = "{} % of CPU, {} MiB, {} jobs".format(*sums)
                self._ledger.violation(f"{node} gets more than its capacity", None, detail)

    def _check_priority(self, pod: Json) -> None:
        entry = self._ledger.jobs.get(pod["metadata"]["labels"][names.JOB_ID])
        if entry is None or pod["metadata"]["uid"] in self._wrong:  # not yet accepted, or reported before
            return
        found = pod["spec"].get("priority", 0)
        if found != max(value for value in _CLASSES if value <= entry.plan.priority):
            self._wrong.add(pod["metadata"]["uid"])
            attempt = pod["metadata"]["annotations"][names.ATTEMPT]
            detail = f"{found} for {entry.plan.priority} in attempt {attempt}"
            self._ledger.violation("a wrong priority", entry, detail)


def _request(pod: Json) -> _Sums:
    requests = pod["spec"]["containers"][0]["resources"]["requests"]
    return quantities.percent(requests["cpu"]), quantities.mebibytes(requests["memory"]), 1


def _add(one: _Sums, other: _Sums) -> _Sums:
    return one[0] + other[0], one[1] + other[1], one[2] + other[2]
