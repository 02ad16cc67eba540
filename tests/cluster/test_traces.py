"""Traces at a real OTLP receiver: from the client over a gateway and a node to the command of the job."""

import asyncio
import contextlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from otlp_receiver import OtlpReceiver, tree
from traced_command import SPAN_OF_THE_COMMAND, run, traced_command

from jobworker.v1 import job_pb2, job_service_pb2
from jobworker_command import LIMITS
from live_client import Client, client
from tests.cluster import control_plane, hosts, packaged, postgresql
from tests.cluster.control_plane import Layout
from tests.cluster.hosts import Gateway
from tests.cluster.network import network

CREATE = "jobworker.v1.JobService/CreateJob"
RUN = "jobworker.v1.NodeService/RunJob"
STREAM = "jobworker.v1.JobService/GetJobsStream"
STOP = "jobworker.v1.JobService/StopJob"
JOB = "jobworker.job"
STEPS = tuple(f"{JOB}.{step}" for step in ("spare_process", "cgroup", "record", "exec"))
_NUMBER = 9
"""The node has other users for jobs than those of the shared cluster, which may run at the same time."""


@dataclass(frozen=True)
class Traced:
    """A cluster of one host that exports spans, a gateway that does so, and one that does not."""

    receiver: OtlpReceiver
    gateway: Gateway
    silent: Gateway


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traced]:
    directory = tmp_path_factory.mktemp("traced")
    with contextlib.ExitStack() as stack:
        net = stack.enter_context(network())
        master, node = [net.place("master", 1)], net.place("node", 10)
        gates = [net.place(f"gate-{number}", 20 + number) for number in (1, 2)]
        receiver = stack.enter_context(OtlpReceiver.started(net.address))
        plane = stack.enter_context(
            control_plane.running(directory / "control-plane", Layout(master, master, master))
        )
        packaged.apply(plane.api())
        _, archive = stack.enter_context(
            postgresql.running(net.place("database", 31), directory / "postgresql.log")
        )
        certs = hosts.make_certificates(directory / "certs", [place.address for place in (node, *gates)])
        stack.enter_context(hosts.host(node, _NUMBER, plane, certs, directory, receiver.variables))
        gateways = [
            stack.enter_context(hosts.gateway(place, plane, certs, archive, directory, **variables))
            for place, variables in zip(gates, (receiver.variables, {}), strict=True)
        ]
        for each in gateways:
            each.wait_until_serving()
        yield Traced(receiver, *gateways)


async def _create(admin: Client, trace_id: str, **fields: object) -> tuple[job_pb2.Job, str]:
    """Create a job that prints its trace, and return it and the id of the client's span."""
    span_id = secrets.token_hex(8)
    request = job_service_pb2.CreateJobRequest(
        command="sh",
        args=["-c", "echo $TRACEPARENT; exec sleep 600"],
        max_cpu=100,
        max_memory=64,
        **fields,  # type: ignore[arg-type]
    )
    metadata = [("traceparent", f"00-{trace_id}-{span_id}-01")]
    return (await admin.stub.CreateJob(request, metadata=metadata, timeout=60)).job, span_id


async def test_a_run_through_a_gateway_is_one_trace(traced: Traced) -> None:
    receiver = traced.receiver
    command = (*LIMITS, "--network", "host", "--", *traced_command(receiver))
    done = await asyncio.to_thread(run, traced.gateway.server, receiver, *command)
    assert done.returncode == 0, done.stderr
    (root,) = [each for each in receiver.spans() if each.name == "jobworker run"]
    await asyncio.to_thread(
        receiver.wait_for, root.trace_id, CREATE, RUN, STREAM, JOB, *STEPS, SPAN_OF_THE_COMMAND
    )
    spans = receiver.spans(root.trace_id)
    print(tree(spans))
    by_id = {each.span_id: each for each in spans}
    assert [each for each in spans if each.parent_id not in by_id] == [root]

    def path(name: str) -> list[tuple[str, str]]:
        """Return the spans from the last one with a name up to the command of the client."""
        found = [[each for each in spans if each.name == name][-1]]
        while found[-1].parent_id:
            found.append(by_id[found[-1].parent_id])
        return [(each.name, each.resource["service.name"]) for each in found]

    client_side, server_side = (CREATE, "jobworker"), (CREATE, "jobworker-gateway")
    started = [(RUN, "jobworkerd"), server_side, client_side, ("jobworker run", "jobworker")]
    assert path(SPAN_OF_THE_COMMAND) == [(SPAN_OF_THE_COMMAND, "command"), (JOB, "jobworkerd"), *started]
    assert path(STEPS[-1]) == [(STEPS[-1], "jobworkerd"), *started]
    services = sorted(each.resource["service.name"] for each in spans if each.name == STREAM)
    assert services == ["jobworker", "jobworker-gateway", "jobworkerd"]


async def test_a_retry_with_another_trace_returns_the_job_of_the_first(traced: Traced) -> None:
    """The retry reaches another gateway."""
    first, second = secrets.token_hex(16), secrets.token_hex(16)
    async with client(traced.gateway.server, "admin") as admin:
        job, span_id = await _create(admin, first, request_id="traced")
        async with client(traced.silent.server, "admin") as other:
            retried, _ = await _create(other, second, request_id="traced")
        assert retried.id == job.id
        spans = await asyncio.to_thread(traced.receiver.wait_for, first, CREATE, RUN)
        await admin.wrote(job.id, b"-01\n")
        await admin.stop(job.id)
    spans = await asyncio.to_thread(traced.receiver.wait_for, first, JOB)
    assert spans[CREATE].parent_id == span_id
    assert (spans[RUN].parent_id, spans[JOB].parent_id) == (spans[CREATE].span_id, spans[RUN].span_id)
    assert spans[JOB].attributes["jobworker.job.id"] == job.id
    assert not traced.receiver.spans(second)


async def test_a_gateway_without_an_exporter_passes_the_trace_on(traced: Traced) -> None:
    trace_id = secrets.token_hex(16)
    async with client(traced.silent.server, "admin") as admin:
        job, span_id = await _create(admin, trace_id)
        await admin.wrote(job.id, b"-01\n")
        stop = job_service_pb2.StopJobRequest(id=job.id)
        metadata = [("traceparent", f"00-{trace_id}-{span_id}-01")]
        await admin.stub.StopJob(stop, metadata=metadata, timeout=60)
        output = (await admin.stream(job.id)).bytes()
    spans = await asyncio.to_thread(traced.receiver.wait_for, trace_id, RUN, JOB, STOP)
    assert [spans[RUN].parent_id, spans[STOP].parent_id] == [span_id, span_id]
    assert output == f"00-{trace_id}-{spans[JOB].span_id}-01\n".encode()
