"""The oracle sees Pods that do not fit on their host, and Pods with a wrong priority."""

import pytest

from jobworker_cluster import names
from tests.cluster.faults.assignments import Assignments
from tests.cluster.faults.history import ID, accept, plan
from tests.cluster.faults.ledger import Ledger
from tests.cluster.hosts import CPU, MAX_JOBS, MEMORY
from tests.cluster.kube_api import Json


def _pod(
    *, cpu: int = 40, memory: int = 32, node: str = "node-1", phase: str = "Running", priority: int = 0
) -> Json:
    requests = {"cpu": f"{cpu * 10}m", "memory": f"{memory}Mi"}
    return {
        "metadata": {"uid": "uid-1", "labels": {names.JOB_ID: ID}, "annotations": {names.ATTEMPT: "1"}},
        "spec": {
            "containers": [{"resources": {"requests": requests}}],
            "priority": priority,
            **({"nodeName": node} if node else {}),
        },
        "status": {"phase": phase},
    }


@pytest.mark.parametrize(
    ("pods", "violations"),
    [
        ([_pod(cpu=CPU), _pod(cpu=CPU, node="node-2"), _pod(cpu=CPU, node="")], 0),
        ([_pod(cpu=CPU // 2), _pod(cpu=CPU // 2 + 1)], 1),
        ([_pod(cpu=CPU // 2), _pod(cpu=CPU // 2 + 1, phase="Succeeded")], 0),
        ([_pod(memory=MEMORY // 2), _pod(memory=MEMORY // 2 + 1)], 1),
        ([_pod()] * MAX_JOBS, 0),
        ([_pod()] * (MAX_JOBS + 1), 1),
    ],
)
def test_a_host_with_more_than_its_capacity_is_a_violation(
    ledger: Ledger, *, pods: list[Json], violations: int
) -> None:
    Assignments(ledger).check(pods)
    assert len(ledger.violations) == violations


@pytest.mark.parametrize(
    ("wanted", "found", "violations"), [(50, 50, 0), (99, 50, 0), (-5, -100, 0), (50, 0, 1), (-5, 0, 1)]
)
def test_a_pod_with_the_priority_of_another_class_is_one_violation(
    ledger: Ledger, *, wanted: int, found: int, violations: int
) -> None:
    accept(ledger, plan(priority=wanted))
    assignments = Assignments(ledger)
    assignments.check([_pod(priority=found)])
    assignments.check([_pod(priority=found)])
    assert len(ledger.violations) == violations
