"""Tests of what the command shows of a cluster: nodes, placement and the ends of jobs that a cluster ends."""

import json
import signal
from datetime import UTC, datetime, timedelta

import grpc
import pytest

from jobworker.v1 import job_pb2
from tests.unit.cli.conftest import (
    JOB_ID,
    Cli,
    Endpoint,
    FakeCluster,
    FakeServer,
    Refusal,
    end_by_signal,
    play,
    stdout,
)
from tests.unit.cli.test_completion import complete

OTHER_ID = JOB_ID[:-1] + "2"
EVICTED = job_pb2.TERMINATION_REASON_EVICTED


async def test_nodes_are_a_table(cli: Cli, cluster: FakeCluster) -> None:
    cluster.add("node1").create_time.FromDatetime(datetime.now(UTC) - timedelta(hours=36))
    away = cluster.add("node2", ready=False, schedulable=False)
    away.conditions[0].message = "the node has stopped to report"
    result = await cli("nodes")
    assert (result.code, result.stderr) == (0, "")
    assert result.text == (
        "NAME   READY  SCHEDULABLE  CPU         MEMORY           JOBS     AGE  VERSION  PROBLEM\n"
        "node1  yes    yes          50% / 400%  512 MiB / 8 GiB  1 / 100  1d   0.1.0    -\n"
        "node2  no     no           50% / 400%  512 MiB / 8 GiB  1 / 100  -    0.1.0    "
        "the node has stopped to report\n"
    )


async def test_wide_table_of_nodes_has_address_labels_and_conditions(cli: Cli, cluster: FakeCluster) -> None:
    cluster.add("node1").conditions.add(type="MemoryPressure", status="False")
    head, row = (await cli("nodes", "-o", "wide")).text.splitlines()
    assert head.split()[-4:] == ["ADDRESS", "LABELS", "CONDITIONS", "PROBLEM"]
    assert row.split()[-4:] == ["node1.example:50051", "zone=a", "Ready=True,MemoryPressure=False", "-"]


async def test_nodes_have_the_formats_of_list(cli: Cli, cluster: FakeCluster) -> None:
    names = [cluster.add(f"node{number}").name for number in range(3)]
    found = json.loads((await cli("nodes", "-o", "json")).text)
    assert [node["name"] for node in found] == names
    assert found[0]["conditions"] == [
        {"type": "Ready", "status": "True", "reason": "", "message": ""},
    ]
    lines = (await cli("nodes", "-o", "jsonl")).text.splitlines()
    assert [json.loads(line)["name"] for line in lines] == names
    assert (await cli("nodes", "-q")).text.split() == names


async def test_control_characters_of_nodes_are_escaped(cli: Cli, cluster: FakeCluster) -> None:
    hostile = "\x1b[31m"
    node = cluster.add(hostile, ready=False)
    node.version = node.address = node.conditions[0].message = node.conditions[0].status = hostile
    node.labels["zone"] = hostile
    for options in (("-o", "wide"), ("-q",)):
        assert "\x1b" not in (await cli("nodes", *options)).text


@pytest.mark.usefixtures("server")
async def test_single_host_has_no_nodes(cli: Cli, endpoint: Endpoint) -> None:
    result = await cli("nodes")
    assert result.code == 1
    assert result.stderr == (
        f"error: localhost:{endpoint.port} is a single host; only a gateway has nodes (UNIMPLEMENTED)\n"
        "hint: select the gateway of a cluster with --server or --context\n"
    )
    assert json.loads((await cli("nodes", "-o", "json")).stderr)["error"]["code"] == "UNIMPLEMENTED"


async def test_placement_is_sent(cli: Cli, server: FakeServer) -> None:
    selector = ("--node-selector", "zone=a", "--node-selector", "gpu=")
    options = ("--queue-name", "batch", *selector, "--retry-on-lost")
    for words in (("create",), ("run", "-d")):
        assert (await cli(*words, *options, "true")).code == 0
    for request in server.created:
        assert (request.queue, dict(request.node_selector)) == ("batch", {"zone": "a", "gpu": ""})
        assert request.retry_on_lost
        assert not request.HasField("queue_timeout")


async def test_node_selector_is_a_pair(cli: Cli, server: FakeServer) -> None:
    result = await cli("create", "--node-selector", "zone", "true")
    assert (result.code, server.created) == (2, [])
    assert "'zone' is not KEY=VALUE" in result.stderr


async def test_tables_have_the_nodes_of_jobs(cli: Cli, server: FakeServer) -> None:
    server.add(node="node1", status=job_pb2.JOB_STATUS_RUNNING)
    server.add(OTHER_ID)
    for words in (("list",), ("list", "-o", "wide"), ("top", "-i", "10ms")):
        head, *rows = (await cli(*words)).text.splitlines()
        column = head.split().index("NODE")
        assert head.split()[column - 1] in {"RAN", "AGE"}
        assert {row[head.index("NODE") :].split()[0] for row in rows} == {"node1", "-"}


async def test_tables_without_nodes_have_no_column_for_them(cli: Cli, server: FakeServer) -> None:
    server.add()
    for words in (("list",), ("top", "-i", "10ms")):
        assert "NODE" not in (await cli(*words)).text


async def test_details_of_a_job_of_a_cluster(cli: Cli, server: FakeServer) -> None:
    job = server.add(node="node1", attempt=2, queue="batch", retry_on_lost=True)
    job.node_selector["zone"] = "a"
    shown = (await cli("get", JOB_ID)).text
    lines = dict(line.split("  ", 1) for line in shown.splitlines() if line)
    found = {name: text.strip() for name, text in lines.items()}
    assert (found["Node"], found["Attempt"]) == ("node1", "2")
    assert (found["Queue"], found["Node selector"]) == ("batch", "zone=a")
    assert found["If lost"] == "the cluster starts the job again"


@pytest.mark.parametrize("subcommand", ["stream", "wait"])
@pytest.mark.parametrize(("end", "code"), [(0, 0), (signal.SIGTERM, 143), (None, 125)])
async def test_evicted_job_exits_with_125_or_its_own_code(
    cli: Cli, server: FakeServer, subcommand: str, end: int | None, code: int
) -> None:
    job = server.add(status=job_pb2.JOB_STATUS_STOPPED)
    if isinstance(end, signal.Signals):
        end_by_signal(job, end, job_pb2.TERMINATION_REASON_STOPPED, "")
    if end is None:
        job.ClearField("exit_code")
    job.termination.reason, job.termination.message = EVICTED, "evicted: node1 was drained"
    completed = await cli(subcommand, JOB_ID)
    assert completed.code == 125
    if subcommand == "stream":
        assert completed.stderr == "jobworker: evicted: node1 was drained\n"
    assert (await cli(subcommand, "--preserve-status", JOB_ID)).code == code


async def test_evicted_job_has_a_word_in_the_table(cli: Cli, server: FakeServer) -> None:
    end_by_signal(server.add(), signal.SIGTERM, EVICTED, "evicted")
    assert "  evicted  " in (await cli("list")).text


PAST_THE_END = Refusal(grpc.StatusCode.OUT_OF_RANGE, "5 is past the end", "OFFSET_OUT_OF_RANGE")


async def test_run_follows_a_job_that_the_cluster_starts_again(cli: Cli, server: FakeServer) -> None:
    play(server, [stdout(b"first", 0), PAST_THE_END], [stdout(b"second", 0)])
    completed = await cli("run", "--retry-on-lost", "true")
    assert (completed.code, completed.stdout) == (0, b"firstsecond")
    assert (
        completed.stderr
        == "jobworker: the cluster has started the job again; its output starts from the beginning\n"
    )


@pytest.mark.parametrize("words", [("run", "true"), ("stream", JOB_ID)])
async def test_output_of_another_attempt_has_a_hint(
    cli: Cli, server: FakeServer, words: tuple[str, ...]
) -> None:
    play(server, [stdout(b"first", 0), PAST_THE_END])
    completed = await cli(*words)
    assert (completed.code, completed.stdout) == (125, b"first")
    hint = f"hint: the cluster has started the job again; `jobworker stream {JOB_ID}` follows it\n"
    assert completed.stderr == f"error: 5 is past the end (OFFSET_OUT_OF_RANGE)\n{hint}"


async def test_wrong_offset_of_the_user_has_no_hint(cli: Cli, server: FakeServer) -> None:
    play(server, [PAST_THE_END])
    completed = await cli("stream", "--offset", "5", JOB_ID)
    assert completed.stderr == "error: 5 is past the end (OFFSET_OUT_OF_RANGE)\n"


async def test_labels_of_nodes_are_completed(cli: Cli, cluster: FakeCluster) -> None:
    cluster.add("node1").labels["zone"] = "$(touch evaluated)"
    cluster.nodes[0].labels["gpu"] = "true"
    cluster.add("node2").labels["zone"] = "b"
    for subcommand in ("create", "run"):
        result = await complete(cli, "bash", f"jobworker {subcommand} --node-selector ")
        assert result.text.split() == ["gpu=true", "zone=b"]
    assert (await complete(cli, "fish", "jobworker run --node-selector z")).text.split() == ["zone=b"]


@pytest.mark.usefixtures("server")
async def test_single_host_has_no_labels_to_complete(cli: Cli) -> None:
    result = await complete(cli, "bash", "jobworker run --node-selector ")
    assert (result.text.strip(), result.stderr) == ("", "")
