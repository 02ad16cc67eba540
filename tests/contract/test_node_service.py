"""NodeService with the certificate of a gateway: jobs of a cluster, calls for users, and fencing."""

import contextlib
import os
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from grpc_health.v1 import health_pb2, health_pb2_grpc
from restarts import kill_supervisor, persist, without_supervisor

from jobworker.v1 import job_pb2, job_service_pb2, login_service_pb2, login_service_pb2_grpc
from jobworker.v1.job_service_pb2_grpc import JobServiceStub
from jobworker.v1.node_service_pb2 import (
    EvictJobRequest,
    GetHostRequest,
    ListRunsRequest,
    RenewLeaseRequest,
    RunJobRequest,
)
from jobworker.v1.node_service_pb2_grpc import NodeServiceStub
from live import Server, eventually
from live_client import Client, client, credentials, refused

ALICE = "CN=alice,OU=Viewer"
FOR_ALICE = (("jobworker-subject-bin", ALICE.encode()),)

FAR_AHEAD = "7fffffff-ffff-7000-8000-000000000001"
"""The id of a job of the far future."""


def new_id(seconds_ago: float = 0) -> str:
    """Return a UUIDv7 (RFC 9562) that was created some seconds ago."""
    milliseconds = time.time_ns() // 1_000_000 - int(seconds_ago * 1_000)
    random = int.from_bytes(os.urandom(10), "big") & ~(0b11 << 62) & ~(0xF << 76)
    return str(uuid.UUID(int=milliseconds << 80 | 0x7 << 76 | 0b10 << 62 | random))


class Gateway:
    """The calls of a gateway, and of an agent."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel
        self.jobs = JobServiceStub(channel)
        self.node = NodeServiceStub(channel)

    async def run(self, *argv: str, **fields: Any) -> job_pb2.Job:
        """Run a job of alice on this host."""
        return (await self.node.RunJob(request(*argv, **fields), timeout=60)).job

    async def runs(self) -> set[str]:
        """Return the ids of the cluster's jobs."""
        return {run.id for run in (await self.node.ListRuns(ListRunsRequest(), timeout=30)).runs}

    async def renew(self, seconds: float) -> None:
        """Renew the lease of the host."""
        duration = Duration()
        duration.FromNanoseconds(int(seconds * 1e9))
        await self.node.RenewLease(RenewLeaseRequest(duration=duration), timeout=30)

    async def get(self, job_id: str) -> job_pb2.Job:
        """Return a job, for alice."""
        get = job_service_pb2.GetJobRequest(id=job_id)
        return (await self.jobs.GetJob(get, timeout=30, metadata=FOR_ALICE)).job

    @contextlib.asynccontextmanager
    async def followed(self, job_id: str) -> AsyncIterator[Any]:
        """Read the output of a job, for alice."""
        stream = job_service_pb2.GetJobsStreamRequest(id=job_id)
        call = self.jobs.GetJobsStream(stream, timeout=60, metadata=FOR_ALICE)
        try:
            yield call
        finally:
            call.cancel()

    async def ended(self, job_id: str) -> job_pb2.Job:
        """Wait until a job is final, for alice."""
        wait = job_service_pb2.WaitJobRequest(id=job_id)
        return (await self.jobs.WaitJob(wait, timeout=60, metadata=FOR_ALICE)).job


def request(*argv: str, **fields: Any) -> RunJobRequest:
    """Return a request for a job of alice."""
    job = job_service_pb2.CreateJobRequest(
        command=argv[0],
        args=argv[1:],
        max_memory=64,
        max_cpu=100,
        request_id=str(uuid.uuid4()),
        queue="batch",
    )
    given: dict[str, Any] = {"id": new_id(), "owner": ALICE, "node": "n1", "attempt": 1, **fields}
    return RunJobRequest(job=job, **given)


@pytest.fixture(scope="module", autouse=True)
def gateway_certificate(certs: Path) -> None:
    """Issue the certificate of a gateway."""
    argv: list[str | Path] = ["certs", "issue", "gateway", "--role=gateway", "--force", "--dir", certs]
    subprocess.run([Path(sys.executable).parent / "jobworkerd", *argv], check=True, capture_output=True)


@contextlib.asynccontextmanager
async def connected(server: Server) -> AsyncIterator[Gateway]:
    """Connect with the certificate of a gateway."""
    async with grpc.aio.secure_channel(server.address, credentials(server.certs, "gateway")) as channel:
        yield Gateway(channel)


@pytest.fixture
async def gateway(server: Server) -> AsyncIterator[Gateway]:
    async with connected(server) as found:
        yield found


async def test_the_host_is_described(gateway: Gateway) -> None:
    host = await gateway.node.GetHost(GetHostRequest(), timeout=30)
    assert (host.max_cpu, host.kernel) == (100 * len(os.sched_getaffinity(0)), os.uname().release)
    assert host.max_memory > 100
    assert host.max_jobs > 0
    assert host.version.count(".") == 2


async def test_a_job_runs_with_its_id_for_its_owner(gateway: Gateway, admin: Client) -> None:
    wanted = request("sh", "-c", "echo here; sleep 60", id=new_id(seconds_ago=3_600))
    job = (await gateway.node.RunJob(wanted, timeout=60)).job
    assert (job.id, job.owner, job.node, job.attempt) == (wanted.id, ALICE, "n1", 1)
    assert (job.status, job.queue) == (job_pb2.JOB_STATUS_RUNNING, "batch")
    assert job.create_time.ToMilliseconds() == int(wanted.id.replace("-", "")[:12], 16)
    assert wanted.id in await gateway.runs()
    # The job is older than all others, but lists and the next ids are in order.
    other = await admin.create("true")
    assert other.id > job.id
    listed = job_service_pb2.ListJobsRequest(
        created_before=Timestamp(seconds=job.create_time.seconds + 1), owner=ALICE, page_size=1
    )
    page = await admin.stub.ListJobs(listed, timeout=30)
    assert [each.id for each in page.jobs] == [job.id]
    stop = job_service_pb2.StopJobRequest(id=job.id)
    stopped = (await gateway.jobs.StopJob(stop, timeout=60, metadata=FOR_ALICE)).job
    assert (stopped.status, stopped.termination.stopped_by) == (job_pb2.JOB_STATUS_STOPPED, ALICE)
    assert wanted.id not in await gateway.runs()


async def test_the_same_attempt_finds_its_job_and_another_one_is_refused(gateway: Gateway) -> None:
    wanted = request("sleep", "60")
    first, second = [(await gateway.node.RunJob(wanted, timeout=60)).job for _ in range(2)]
    assert (first.pid, first.id) == (second.pid, wanted.id)
    again = RunJobRequest.FromString(wanted.SerializeToString())
    again.job.request_id = "another attempt"
    async with refused(grpc.StatusCode.ALREADY_EXISTS) as refusal:
        await gateway.node.RunJob(again, timeout=60)
    assert refusal.reason == "REQUEST_ID_REUSED"
    await gateway.node.EvictJob(EvictJobRequest(id=wanted.id, message="drained"), timeout=60)
    delete = job_service_pb2.DeleteJobRequest(id=wanted.id)
    await gateway.jobs.DeleteJob(delete, timeout=30, metadata=FOR_ALICE)
    again.attempt = 2
    assert (await gateway.node.RunJob(again, timeout=60)).job.attempt == 2
    await gateway.node.EvictJob(EvictJobRequest(id=wanted.id, message="drained"), timeout=60)


async def test_an_evicted_job_has_the_reason_in_its_record(gateway: Gateway, admin: Client) -> None:
    job = await gateway.run("sleep", "60")
    evict = EvictJobRequest(id=job.id, message="node n1 is drained")
    for _ in range(2):
        final = (await gateway.node.EvictJob(evict, timeout=60)).job
        assert final.status == job_pb2.JOB_STATUS_STOPPED
        assert final.termination.reason == job_pb2.TERMINATION_REASON_EVICTED
        assert final.termination.message == "node n1 is drained; ended by SIGTERM"
        assert not final.termination.stopped_by
    own = await admin.create("sleep", "60")
    async with refused(grpc.StatusCode.NOT_FOUND):
        await gateway.node.EvictJob(EvictJobRequest(id=own.id, message="drained"), timeout=60)
    await admin.stop(own.id, seconds=0)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", "x"),
        ("owner", ""),
        ("node", ""),
        ("attempt", 0),
        ("id", "7fffffff-ffff-7000-8000-000000000001"),
    ],
)
async def test_a_run_without_its_identity_is_refused(gateway: Gateway, field: str, value: object) -> None:
    async with refused(grpc.StatusCode.INVALID_ARGUMENT) as refusal:
        await gateway.run("true", **{field: value})
    assert refusal.fields == [field]


async def test_a_command_that_cannot_start_leaves_no_job(gateway: Gateway) -> None:
    wanted = request("/nonexistent")
    async with refused(grpc.StatusCode.INVALID_ARGUMENT) as refusal:
        await gateway.node.RunJob(wanted, timeout=60)
    assert refusal.reason == "COMMAND_NOT_STARTED"
    async with refused(grpc.StatusCode.NOT_FOUND):
        await gateway.get(wanted.id)


async def test_users_cannot_call_the_service_or_name_another_subject(server: Server, admin: Client) -> None:
    async with refused(grpc.StatusCode.PERMISSION_DENIED):
        await NodeServiceStub(admin.channel).ListRuns(ListRunsRequest(), timeout=30)
    async with client(server, "admin") as other, refused(grpc.StatusCode.UNAUTHENTICATED) as refusal:
        listing = other.stub.ListJobs(job_service_pb2.ListJobsRequest(), timeout=30, metadata=FOR_ALICE)
        await listing
    assert refusal.reason == "UNAUTHENTICATED"


async def test_a_gateway_has_no_access_of_its_own(gateway: Gateway) -> None:
    health = health_pb2_grpc.HealthStub(gateway.channel)
    answer = await health.Check(health_pb2.HealthCheckRequest(), timeout=30)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING
    async with refused(grpc.StatusCode.PERMISSION_DENIED):
        await gateway.jobs.ListJobs(job_service_pb2.ListJobsRequest(), timeout=30)
    logins = login_service_pb2_grpc.LoginServiceStub(gateway.channel)
    async with refused(grpc.StatusCode.PERMISSION_DENIED):
        await logins.CreateLogin(login_service_pb2.CreateLoginRequest(), timeout=30, metadata=FOR_ALICE)
    async with refused(grpc.StatusCode.PERMISSION_DENIED):
        await gateway.node.ListRuns(ListRunsRequest(), timeout=30, metadata=FOR_ALICE)


@pytest.mark.parametrize("subject", [b"", b"\xff", b"x" * 4_097])
async def test_a_subject_that_no_certificate_can_have_is_refused(gateway: Gateway, subject: bytes) -> None:
    async with refused(grpc.StatusCode.UNAUTHENTICATED):
        await gateway.jobs.ListJobs(
            job_service_pb2.ListJobsRequest(), timeout=30, metadata=(("jobworker-subject-bin", subject),)
        )


async def test_the_log_has_both_subjects(own_server: Server) -> None:
    async with connected(own_server) as gateway:
        await gateway.jobs.ListJobs(job_service_pb2.ListJobsRequest(), timeout=30, metadata=FOR_ALICE)
    line = own_server.wait_for_event("authorization")
    assert (line["subject"], line["role"]) == (ALICE, "Admin")
    assert "OU=Gateway" in line["gateway"]


async def test_fenced_jobs_end_with_the_lease(own_server: Server) -> None:
    async with connected(own_server) as gateway:
        async with refused(grpc.StatusCode.RESOURCE_EXHAUSTED) as refusal:
            await gateway.run("sleep", "60", fenced=True)
        assert refusal.reason == "TOO_MANY_JOBS"
        await gateway.renew(3_600)
        # It ignores SIGTERM: the lease has no grace period.
        fenced = await gateway.run("sh", "-c", "trap '' TERM; sleep 60 & wait", fenced=True)
        other = await gateway.run("sleep", "60")
        await gateway.renew(0.5)
        final = await gateway.ended(fenced.id)
        assert final.status == job_pb2.JOB_STATUS_STOPPED
        assert final.termination.reason == job_pb2.TERMINATION_REASON_EVICTED
        assert final.termination.message == "the host lost its lease in the cluster; ended by SIGKILL"
        assert await gateway.runs() == {other.id}


async def test_the_lease_survives_the_death_of_the_supervisor(own_server: Server) -> None:
    async with connected(own_server) as gateway:
        await gateway.renew(3_600)
        job = await gateway.run("sleep", "60", fenced=True)
        await kill_supervisor(own_server)
        again = await persist(lambda: gateway.get(job.id))
        assert (again.status, again.pid) == (job_pb2.JOB_STATUS_RUNNING, job.pid)
        assert (again.node, again.attempt) == ("n1", 1)
        await gateway.run("sleep", "60", fenced=True)


async def test_a_lease_that_ends_without_a_supervisor_ends_the_jobs(own_server: Server) -> None:
    async with connected(own_server) as gateway:
        await gateway.renew(3_600)
        job = await gateway.run("sleep", "60", fenced=True)
        await gateway.renew(1)
        end = time.monotonic() + 1
        with without_supervisor(own_server):
            await eventually(lambda: time.monotonic() > end)
        final = await persist(lambda: gateway.ended(job.id))
        assert final.termination.reason == job_pb2.TERMINATION_REASON_EVICTED


async def test_another_attempt_shows_nothing_of_the_deleted_one(gateway: Gateway) -> None:
    """A host runs the attempts of a job with one id, and API processes cache what never changes."""
    first = await gateway.run("sh", "-c", "echo first; exit 3")
    assert (await gateway.ended(first.id)).exit_code == 3
    assert (await gateway.get(first.id)).exit_code == 3
    async with gateway.followed(first.id) as slow_reader:
        assert (await slow_reader.read()).payload == b"first\n"
        delete = job_service_pb2.DeleteJobRequest(id=first.id)
        await gateway.jobs.DeleteJob(delete, timeout=30, metadata=FOR_ALICE)
        await gateway.run("sh", "-c", "echo other; sleep 600", id=first.id, attempt=2)
        async with gateway.followed(first.id) as reader:
            assert (await reader.read()).payload == b"other\n"
        wait = job_service_pb2.WaitJobRequest(id=first.id, timeout=Duration(nanos=1))
        waited = (await gateway.jobs.WaitJob(wait, timeout=30, metadata=FOR_ALICE)).job
        for job in (waited, await gateway.get(first.id)):
            assert (job.status, job.attempt) == (job_pb2.JOB_STATUS_RUNNING, 2)
    await gateway.node.EvictJob(EvictJobRequest(id=first.id, message="the test ends"), timeout=30)
    assert (await gateway.get(first.id)).termination.reason == job_pb2.TERMINATION_REASON_EVICTED
