"""The command `jobworker` with a whole cluster."""

import json

import pytest

from jobworker_command import LIMITS, Jobworker
from tests.cluster import hosts
from tests.cluster.whole import Cluster


def on(name: str) -> tuple[str, str]:
    """Return the option that selects a node."""
    return "--node-selector", f"kubernetes.io/hostname={name}"


def cells(table: str, heading: str) -> set[str]:
    """Return the cells of a column."""
    head, *rows = table.splitlines()
    return {row[head.index(heading) :].split()[0] for row in rows}


def test_nodes_have_the_capacity_of_their_hosts(cluster: Cluster) -> None:
    jobworker = Jobworker(cluster.gateway.server, "viewer")
    names = {host.name for host in cluster.hosts}
    nodes = json.loads(jobworker.printed("nodes", "-o", "json"))
    assert {node["name"] for node in nodes} == names
    capacity = {"cpu": hosts.CPU, "memory": str(hosts.MEMORY), "jobs": hosts.MAX_JOBS}
    assert [node["capacity"] for node in nodes] == [capacity] * len(names)
    table = jobworker.printed("nodes")
    assert (cells(table, "READY"), cells(table, "SCHEDULABLE")) == ({"yes"}, {"yes"})


def test_run_is_the_one_of_a_single_host(cluster: Cluster) -> None:
    jobworker, name = Jobworker(cluster.gateway.server), cluster.hosts[1].name
    done = jobworker(
        "run", *LIMITS, *on(name), "-l", "test=run", "sh", "-c", "echo out; echo err >&2; exit 3"
    )
    assert (done.returncode, done.stdout) == (3, b"out\n")
    assert b"err\n" in done.stderr
    assert cells(jobworker.printed("list", "-l", "test=run"), "NODE") == {name}


@pytest.mark.parametrize(
    ("words", "code", "reason"),
    [
        (("no-such-command",), 127, "no-such-command: No such file or directory"),
        (("/etc/passwd",), 126, "/etc/passwd: Permission denied"),
        (("-w", "/nowhere", "true"), 125, "/nowhere: No such file or directory"),
    ],
)
def test_a_command_that_cannot_start_has_the_exit_code_of_a_single_host(
    cluster: Cluster, words: tuple[str, ...], code: int, reason: str
) -> None:
    jobworker = Jobworker(cluster.gateway.server)
    done = jobworker("run", *LIMITS, *words)
    error, hint = done.stderr.decode().splitlines()
    assert error.startswith(f"error: {reason}")
    assert error.endswith(" (COMMAND_NOT_STARTED)")
    assert hint.startswith("hint: ")
    assert (done.returncode, done.stdout) == (code, b"")


def test_top_spans_the_nodes(cluster: Cluster) -> None:
    jobworker, names = Jobworker(cluster.gateway.server), {host.name for host in cluster.hosts}
    ids = [jobworker.create(*on(name), "sh", "-c", "echo started; exec sleep 600") for name in names]
    for job_id in ids:
        with jobworker.started("stream", job_id) as stream:
            assert stream.stdout
            assert stream.stdout.readline() == b"started\n"
    table = jobworker.printed("top", "--once", "-i", "500ms")
    assert cells(table, "NODE") >= names
    nodes = json.loads(jobworker.printed("nodes", "-o", "json"))
    assert all(node["allocated"]["jobs"] >= 1 for node in nodes)
    assert jobworker("stop", "--now", *ids).returncode == 0
