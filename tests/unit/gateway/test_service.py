"""The calls of a gateway that are neither streams nor watches."""

import asyncio

import pytest
from google.protobuf.duration_pb2 import Duration

from cluster_jobs import ALICE, BOB, final, job, job_id
from fake_cluster import FakeCluster
from gateway_calls import Call, service_of
from jobworker.v1 import job_pb2, job_service_pb2
from jobworker_gateway.engine import ArchivedJob
from jobworker_gateway.job_table import LiveJob
from jobworker_gateway.node_connections import NodeConnections
from jobworker_gateway.node_errors import NodeError
from jobworker_gateway.service import GatewayJobService
from jobworkerd import errors
from jobworkerd.config import Config
from jobworkerd.quotas import AdminQuota, QuotaConfig
from scripted_node import Context, ScriptedNode, answer, fail, hang

ID = job_id(0)
RUNNING = job(ID, node="one", attempt=1, max_cpu=100, max_memory=64)
CreateJobRequest = job_service_pb2.CreateJobRequest


@pytest.fixture
async def service(cluster: FakeCluster, nodes: NodeConnections) -> GatewayJobService:
    """The service of Alice."""
    return service_of(cluster.jobs, nodes)


async def create(service: GatewayJobService, request: CreateJobRequest) -> job_pb2.Job:
    return (await service.CreateJob(request, Call().context)).job


async def get(service: GatewayJobService, job_id: str = ID) -> job_pb2.Job:
    return (await service.GetJob(job_service_pb2.GetJobRequest(id=job_id), Call().context)).job


async def test_a_created_job_has_the_defaults_of_the_gateway(
    cluster: FakeCluster, service: GatewayJobService
) -> None:
    request = CreateJobRequest(
        command="sleep",
        args=["5"],
        env={"SECRET": "s"},
        queue="batch",
        node_selector={"disk": "ssd"},
        retry_on_lost=True,
        request_id="r1",
    )
    created = await create(service, request)
    assert created.status == job_pb2.JOB_STATUS_QUEUED
    assert (created.owner, created.queue, created.retry_on_lost) == (ALICE, "batch", True)
    assert (created.max_cpu, created.max_memory, created.stop_signal) == (10, 1, "SIGTERM")
    (accepted,) = cluster.engine.submitted
    assert accepted.job == created
    assert b"SECRET" not in created.SerializeToString()
    sent = accepted.request
    assert (dict(sent.env), sent.max_pids, sent.stop_grace_period.seconds) == ({"SECRET": "s"}, 1_024, 10)
    assert dict(sent.node_selector) == {"disk": "ssd"}
    assert await get(service, created.id) == accepted_position(created)


def accepted_position(queued: job_pb2.Job) -> job_pb2.Job:
    found = job_pb2.Job()
    found.CopyFrom(queued)
    found.queue_position = 1
    return found


async def test_different_requests_have_different_hashes(
    cluster: FakeCluster, service: GatewayJobService
) -> None:
    for command in ("true", "true", "false"):
        await create(service, CreateJobRequest(command=command, request_id="r", env={"a": "1", "b": "2"}))
    first, second, third = (each.request_hash for each in cluster.engine.submitted)
    assert first == second != third


@pytest.mark.parametrize(
    ("request_", "problem"),
    [
        (CreateJobRequest(command=""), "command: empty"),
        (CreateJobRequest(command="true", queue="none"), "queue: unknown queue 'none'; use batch"),
        (CreateJobRequest(command="true", node_selector={"a b": "c"}), "node_selector: 'a b' is not a key"),
    ],
)
async def test_a_wrong_request_is_refused(
    cluster: FakeCluster, service: GatewayJobService, request_: CreateJobRequest, problem: str
) -> None:
    with pytest.raises(errors.InvalidRequest, match=problem):
        await create(service, request_)
    assert not cluster.engine.submitted


async def test_a_large_request_is_refused(service: GatewayJobService) -> None:
    with pytest.raises(errors.MessageTooLarge) as caught:
        await create(service, CreateJobRequest(command="true", args=["x" * 131_071]))
    assert caught.value.max_bytes == 131_072
    with pytest.raises(errors.InvalidRequest, match="argument 0 has 131072 bytes"):
        await create(service, CreateJobRequest(command="true", args=["x" * 131_072]))


async def test_a_gateway_that_stops_accepts_no_jobs(service: GatewayJobService) -> None:
    service.draining.set()
    with pytest.raises(errors.ShuttingDown):
        await create(service, CreateJobRequest(command="true"))


@pytest.mark.parametrize(
    ("quota", "name"),
    [
        (AdminQuota(running_jobs=2), "quota.admin.running_jobs"),
        (AdminQuota(queued_jobs=1), "quota.admin.queued_jobs"),
        (AdminQuota(create_rate=0.001), "quota.admin.create_rate"),
    ],
)
async def test_an_owner_has_a_quota(
    cluster: FakeCluster, nodes: NodeConnections, quota: AdminQuota, name: str
) -> None:
    service = service_of(cluster.jobs, nodes, Config(quota=QuotaConfig(admin=quota)))
    await cluster.put(RUNNING)
    await cluster.put(job(job_id(1), owner=BOB))
    await create(service, CreateJobRequest(command="true"))
    with pytest.raises(errors.QuotaExceeded) as caught:
        await create(service, CreateJobRequest(command="true"))
    assert caught.value.quota == name
    assert len(cluster.engine.submitted) == 1


async def test_calls_at_the_same_time_have_one_quota(cluster: FakeCluster, nodes: NodeConnections) -> None:
    service = service_of(cluster.jobs, nodes, Config(quota=QuotaConfig(admin=AdminQuota(running_jobs=3))))
    await cluster.put(RUNNING)
    calls = (create(service, CreateJobRequest(command="true")) for _ in range(5))
    answers = await asyncio.gather(*calls, return_exceptions=True)
    refused = [each for each in answers if isinstance(each, errors.QuotaExceeded)]
    assert (len(refused), len(cluster.engine.submitted)) == (3, 2)


async def test_a_failed_call_leaves_its_room(cluster: FakeCluster, nodes: NodeConnections) -> None:
    service = service_of(cluster.jobs, nodes, Config(quota=QuotaConfig(admin=AdminQuota(running_jobs=1))))
    cluster.engine.is_down = True
    for _ in range(2):
        with pytest.raises(errors.ClusterUnavailable):
            await create(service, CreateJobRequest(command="true"))
    cluster.engine.is_down = False
    await create(service, CreateJobRequest(command="true"))


async def test_a_retry_needs_no_room(cluster: FakeCluster, nodes: NodeConnections) -> None:
    service = service_of(cluster.jobs, nodes, Config(quota=QuotaConfig(admin=AdminQuota(running_jobs=1))))
    for _ in range(2):
        await create(service, CreateJobRequest(command="true", request_id="r"))
    with pytest.raises(errors.QuotaExceeded):
        await create(service, CreateJobRequest(command="true", request_id="other"))
    assert len(cluster.engine.submitted) == 2


async def test_a_running_job_comes_from_its_node(
    cluster: FakeCluster, node: ScriptedNode, service: GatewayJobService
) -> None:
    await cluster.put(RUNNING)
    with_usage = job(ID, node="one", usage=job_pb2.Usage(pids_peak_count=3))
    node.on("GetJob", answer(job_service_pb2.GetJobResponse(job=with_usage)))
    assert await get(service) == with_usage
    assert node.calls == [("GetJob", ALICE)]


async def test_a_running_job_without_its_node_comes_from_the_cluster(
    cluster: FakeCluster, node: ScriptedNode, service: GatewayJobService
) -> None:
    await cluster.put(RUNNING)
    await node.stop()
    assert await get(service) == RUNNING


async def test_a_job_that_just_ended_has_the_record_of_the_cluster(
    cluster: FakeCluster, node: ScriptedNode, service: GatewayJobService
) -> None:
    await cluster.put(RUNNING)

    async def end(context: Context) -> None:
        await cluster.put(final(ID, "FAILED"))
        ended = job_service_pb2.GetJobResponse(job=job(ID, "COMPLETED"))
        await answer(ended)(context)

    node.on("GetJob", end)
    assert await get(service) == final(ID, "FAILED")


@pytest.mark.parametrize("behind", [RUNNING, job(ID, "QUEUED")])
async def test_a_final_job_is_found_although_the_table_is_behind(
    cluster: FakeCluster, service: GatewayJobService, behind: job_pb2.Job
) -> None:
    await cluster.put(final(ID))
    cluster.engine.jobs.put(LiveJob(behind))
    assert await get(service) == final(ID)


async def test_a_job_is_found_in_the_cluster_before_the_table_has_it(
    cluster: FakeCluster, service: GatewayJobService
) -> None:
    cluster.engine.hidden[ID] = LiveJob(job(ID, "QUEUED"))
    assert await get(service) == job(ID, "QUEUED", queue_position=1)


async def test_an_unknown_job_is_not_found_only_if_the_cluster_answers(
    cluster: FakeCluster, service: GatewayJobService
) -> None:
    with pytest.raises(errors.JobNotFound):
        await get(service)
    cluster.engine.is_down = True
    with pytest.raises(errors.ClusterUnavailable):
        await get(service)


async def test_a_wait_ends_with_the_job_or_with_its_timeout(
    cluster: FakeCluster, node: ScriptedNode, service: GatewayJobService
) -> None:
    await cluster.put(RUNNING)
    node.on("GetJob", answer(job_service_pb2.GetJobResponse(job=RUNNING)))
    request = job_service_pb2.WaitJobRequest(id=ID, timeout=Duration())
    answered = await service.WaitJob(request, Call().context)
    assert (answered.done, answered.job) == (False, RUNNING)
    waiting = asyncio.create_task(service.WaitJob(job_service_pb2.WaitJobRequest(id=ID), Call().context))
    await asyncio.sleep(0)
    await cluster.put(final(ID))
    assert (await waiting).done
    assert (await waiting).job == final(ID)


@pytest.fixture
def late_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the record of a node be late at once."""
    monkeypatch.setattr("jobworker_gateway.job_control._RECORD_SECONDS", 0.05)


async def stop(service: GatewayJobService) -> job_pb2.Job:
    return (await service.StopJob(job_service_pb2.StopJobRequest(id=ID), Call(seconds=10).context)).job


@pytest.mark.usefixtures("late_record")
async def test_a_running_job_is_stopped_at_its_node_without_the_control_plane(
    cluster: FakeCluster, node: ScriptedNode, service: GatewayJobService
) -> None:
    await cluster.put(RUNNING)
    cluster.engine.is_down = True
    node.on("StopJob", answer(job_service_pb2.StopJobResponse(job=job(ID, "STOPPED"))))
    assert await stop(service) == job(ID, "STOPPED")
    assert node.calls == [("StopJob", ALICE)]
    assert await get(service) == job(ID, "STOPPED")


@pytest.mark.usefixtures("late_record")
async def test_a_stop_is_not_acknowledged_if_the_job_may_start_again(
    cluster: FakeCluster, node: ScriptedNode, service: GatewayJobService
) -> None:
    again = job(ID, node="one", attempt=1, retry_on_lost=True)
    await cluster.put(again)
    cluster.engine.is_down = True
    stopped = job(ID, "STOPPED", retry_on_lost=True)
    node.on("StopJob", answer(job_service_pb2.StopJobResponse(job=stopped)))
    with pytest.raises(errors.ClusterUnavailable):
        await stop(service)
    cluster.engine.is_down = False
    assert await stop(service) == await get(service) == stopped


@pytest.mark.usefixtures("late_record")
async def test_a_stop_is_not_acknowledged_without_the_archive(
    cluster: FakeCluster, node: ScriptedNode, service: GatewayJobService, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_final: ArchivedJob) -> job_pb2.Job:
        raise errors.ClusterUnavailable("the database does not answer")

    await cluster.put(RUNNING)
    node.on("StopJob", answer(job_service_pb2.StopJobResponse(job=job(ID, "STOPPED"))))
    monkeypatch.setattr(cluster.archive, "add", fail)
    with pytest.raises(errors.ClusterUnavailable):
        await stop(service)


@pytest.mark.usefixtures("late_record")
async def test_a_stop_is_for_the_attempt_that_has_begun_meanwhile(
    cluster: FakeCluster, node: ScriptedNode, service: GatewayJobService
) -> None:
    await cluster.put(RUNNING, attempt="uid-1")

    async def begin(context: Context) -> None:
        await cluster.put(RUNNING, attempt="uid-2")
        node.on("StopJob", answer(job_service_pb2.StopJobResponse(job=job(ID, "STOPPED", attempt=2))))
        await answer(job_service_pb2.StopJobResponse(job=job(ID, "STOPPED", attempt=1)))(context)

    node.on("StopJob", begin)
    assert (await stop(service)).attempt == 2


@pytest.mark.parametrize(
    ("grace", "seconds"), [(None, None), (Duration(), 0), (Duration(seconds=1, nanos=500_000_000), 1.5)]
)
async def test_a_queued_job_is_stopped_in_the_cluster(
    cluster: FakeCluster, service: GatewayJobService, grace: Duration | None, seconds: float | None
) -> None:
    await cluster.put(job(ID, "QUEUED"))
    request = job_service_pb2.StopJobRequest(id=ID, grace_period=grace)
    stopping = asyncio.create_task(service.StopJob(request, Call().context))
    while not cluster.engine.cancelled:
        await asyncio.sleep(0.001)
    assert cluster.engine.cancelled == [(ID, ALICE)]
    assert cluster.engine.grace_periods == [seconds]
    await cluster.put(job(ID, "STOPPED"))
    assert (await stopping).job == job(ID, "STOPPED")


async def test_a_job_that_starts_while_it_is_stopped_is_stopped_at_its_node(
    cluster: FakeCluster, node: ScriptedNode, service: GatewayJobService
) -> None:
    await cluster.put(job(ID, "QUEUED"))
    cluster.engine.cancels = False

    async def stop(context: Context) -> None:
        await cluster.put(final(ID, "STOPPED"))
        await answer(job_service_pb2.StopJobResponse(job=job(ID, "STOPPED")))(context)

    node.on("StopJob", stop)
    stopping = asyncio.create_task(service.StopJob(job_service_pb2.StopJobRequest(id=ID), Call().context))
    while not cluster.engine.cancelled:
        await asyncio.sleep(0.001)
    await cluster.put(RUNNING)
    assert (await stopping).job == final(ID, "STOPPED")


async def test_a_job_that_ends_while_it_is_stopped_is_final(
    cluster: FakeCluster, service: GatewayJobService
) -> None:
    await cluster.put(job(ID, "QUEUED"))
    cluster.engine.gone = {ID}
    stopping = asyncio.create_task(service.StopJob(job_service_pb2.StopJobRequest(id=ID), Call().context))
    while not cluster.engine.cancelled:
        await asyncio.sleep(0.001)
    await cluster.put(final(ID))
    assert (await stopping).job == final(ID)


async def test_a_stop_of_an_unreachable_node_is_an_error(
    cluster: FakeCluster, node: ScriptedNode, service: GatewayJobService
) -> None:
    await cluster.put(RUNNING)
    await node.stop()
    with pytest.raises(errors.NodeUnreachable):
        await service.StopJob(job_service_pb2.StopJobRequest(id=ID), Call().context)


async def test_only_the_cluster_says_that_a_job_does_not_exist(
    cluster: FakeCluster, node: ScriptedNode, service: GatewayJobService
) -> None:
    await cluster.put(RUNNING)
    node.on("StopJob", fail(errors.JobNotFound(ID)))
    with pytest.raises(errors.NodeUnreachable, match="it has no record of the job"):
        await service.StopJob(job_service_pb2.StopJobRequest(id=ID), Call().context)
    node.on("UpdateJob", fail(errors.JobNotFound(ID)))
    with pytest.raises(errors.NodeUnreachable, match="it has no record of the job"):
        await service.UpdateJob(job_service_pb2.UpdateJobRequest(id=ID), Call().context)


async def test_limits_are_changed_at_the_node_and_in_the_record(
    cluster: FakeCluster, node: ScriptedNode, service: GatewayJobService
) -> None:
    await cluster.put(RUNNING)
    changed = job(ID, node="one", max_cpu=10)
    requests = []

    async def update(context: Context) -> None:
        data = await context.read()
        assert isinstance(data, bytes)
        requests.append(job_service_pb2.UpdateJobRequest.FromString(data))
        await context.write(job_service_pb2.UpdateJobResponse(job=changed).SerializeToString())

    node.on("UpdateJob", update)
    request = job_service_pb2.UpdateJobRequest(id=ID, max_cpu=0, max_memory=64)
    assert (await service.UpdateJob(request, Call().context)).job == changed
    # 0 is the default of the gateway, not that of the node.
    assert requests == [job_service_pb2.UpdateJobRequest(id=ID, max_cpu=10, max_memory=64)]
    assert cluster.engine.updated == [changed]


async def test_a_node_cannot_change_the_record_of_another_job(
    cluster: FakeCluster, node: ScriptedNode, service: GatewayJobService
) -> None:
    """An attacker can control a host, and answer what it wants."""
    await cluster.put(RUNNING)
    other, late = job(job_id(1), node="one", max_cpu=10), job(ID, node="one")
    late.start_time.seconds = 2**62
    for wrong, why in ((other, "it answered for another job"), (late, "start_time is out of range")):
        node.on("UpdateJob", answer(job_service_pb2.UpdateJobResponse(job=wrong)))
        node.on("GetJob", answer(job_service_pb2.GetJobResponse(job=wrong)))
        with pytest.raises(errors.NodeUnreachable, match=why):
            await service.UpdateJob(job_service_pb2.UpdateJobRequest(id=ID), Call().context)
        assert await get(service) == RUNNING
    assert not cluster.engine.updated


@pytest.mark.parametrize("size", [0, 100_000])
async def test_a_node_cannot_make_a_list_fail(
    cluster: FakeCluster, node: ScriptedNode, service: GatewayJobService, size: int
) -> None:
    """The answer of the node is too large for a list, or not a message."""
    await cluster.put(RUNNING)

    async def get_job(context: Context) -> None:
        await context.read()
        large = job_service_pb2.GetJobResponse(job=RUNNING)
        large.job.queue_reason = "x" * size
        await context.write(large.SerializeToString() if size else b"?")

    node.on("GetJob", get_job)
    request = job_service_pb2.ListJobsRequest(live_usage=True)
    assert list((await service.ListJobs(request, Call().context)).jobs) == [RUNNING]


async def test_a_node_that_does_not_answer_a_change_of_limits_is_unreachable(
    cluster: FakeCluster, node: ScriptedNode, service: GatewayJobService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobworker_gateway.job_control._UPDATE_SECONDS", 0.1, raising=False)
    await cluster.put(RUNNING)
    node.on("UpdateJob", hang)
    with pytest.raises(errors.NodeUnreachable, match="Deadline Exceeded"):
        await service.UpdateJob(job_service_pb2.UpdateJobRequest(id=ID), Call().context)


async def test_a_limit_that_was_lowered_can_be_raised_again(
    cluster: FakeCluster, node: ScriptedNode, service: GatewayJobService
) -> None:
    lowered = job(ID, node="one", max_cpu=10, max_memory=8)
    cluster.engine.jobs.put(LiveJob(lowered, reserved=(RUNNING.max_cpu, RUNNING.max_memory)))
    node.on("UpdateJob", answer(job_service_pb2.UpdateJobResponse(job=RUNNING)))
    request = job_service_pb2.UpdateJobRequest(id=ID, max_cpu=100, max_memory=64)
    assert (await service.UpdateJob(request, Call().context)).job == RUNNING


@pytest.mark.parametrize(("limit", "wanted"), [("max_cpu", "200%"), ("max_memory", "200 MiB")])
async def test_a_running_job_gets_no_more_than_the_cluster_has_reserved(
    cluster: FakeCluster, node: ScriptedNode, service: GatewayJobService, limit: str, wanted: str
) -> None:
    await cluster.put(RUNNING)
    request = job_service_pb2.UpdateJobRequest(id=ID)
    setattr(request, limit, 200)
    with pytest.raises(errors.LimitUnavailable, match=f"{limit} cannot be enforced: {wanted} is more than"):
        await service.UpdateJob(request, Call().context)
    assert not node.calls


async def test_only_a_running_job_is_changed(cluster: FakeCluster, service: GatewayJobService) -> None:
    await cluster.put(job(ID, "QUEUED"))
    with pytest.raises(errors.JobNotRunning, match="is queued"):
        await service.UpdateJob(job_service_pb2.UpdateJobRequest(id=ID), Call().context)


async def test_a_running_job_is_changed_although_this_gateway_is_behind(
    cluster: FakeCluster, node: ScriptedNode, service: GatewayJobService
) -> None:
    await cluster.put(job(ID, "QUEUED"))
    cluster.engine.hidden[ID] = LiveJob(RUNNING, reserved=(10, 64))
    node.on("UpdateJob", answer(job_service_pb2.UpdateJobResponse(job=RUNNING)))
    request = job_service_pb2.UpdateJobRequest(id=ID, max_cpu=10)
    assert (await service.UpdateJob(request, Call().context)).job == RUNNING


async def delete(service: GatewayJobService) -> None:
    await service.DeleteJob(job_service_pb2.DeleteJobRequest(id=ID), Call().context)


@pytest.mark.parametrize(
    "script", [answer(job_service_pb2.DeleteJobResponse()), fail(errors.JobNotFound(ID))]
)
async def test_a_deleted_job_is_gone_although_the_table_still_has_it(
    cluster: FakeCluster, node: ScriptedNode, service: GatewayJobService, script: object
) -> None:
    await cluster.put(final(ID))
    node.on("DeleteJob", script)  # type: ignore[arg-type]  # a script
    await delete(service)
    assert node.calls == [("DeleteJob", ALICE)]
    with pytest.raises(errors.JobNotFound):
        await get(service)
    with pytest.raises(errors.JobNotFound):
        await delete(service)
    listed = await service.ListJobs(job_service_pb2.ListJobsRequest(), Call().context)
    assert not listed.jobs


async def test_a_job_that_runs_is_not_deleted(cluster: FakeCluster, service: GatewayJobService) -> None:
    await cluster.put(RUNNING)
    with pytest.raises(errors.JobNotFinal, match="is running"):
        await delete(service)


async def test_the_record_stays_while_the_output_cannot_be_deleted(
    cluster: FakeCluster, node: ScriptedNode, service: GatewayJobService
) -> None:
    await cluster.put(final(ID))
    await node.stop()
    with pytest.raises(errors.NodeUnreachable):
        await delete(service)
    assert await get(service) == final(ID)
    # An administrator has removed the node.
    cluster.engine.nodes.clear()
    await delete(service)
    with pytest.raises(errors.JobNotFound):
        await get(service)


async def test_the_record_stays_while_the_gateway_does_not_know_the_nodes(
    cluster: FakeCluster, node: ScriptedNode, service: GatewayJobService
) -> None:
    """A gateway that has just started cannot tell a removed node from one that it has not listed yet."""
    await cluster.put(final(ID))
    cluster.engine.nodes.clear()
    cluster.engine.complete = False
    with pytest.raises(errors.ClusterUnavailable, match="has just started"):
        await delete(service)
    assert await get(service) == final(ID)
    cluster.add_node("one", node.address)
    node.on("DeleteJob", answer(job_service_pb2.DeleteJobResponse()))
    await delete(service)
    assert node.calls == [("DeleteJob", ALICE)]


async def test_a_lost_job_is_deleted_without_its_node(
    cluster: FakeCluster, node: ScriptedNode, service: GatewayJobService
) -> None:
    await cluster.put(final(ID, "LOST"))
    await node.stop()
    await delete(service)


async def test_a_lost_job_that_still_runs_on_its_node_is_deleted(
    cluster: FakeCluster, node: ScriptedNode, service: GatewayJobService
) -> None:
    await cluster.put(final(ID, "LOST"))
    node.on("DeleteJob", fail(errors.JobNotFinal(ID, "running")))
    await delete(service)


async def test_an_error_of_the_node_is_the_clients(
    cluster: FakeCluster, node: ScriptedNode, service: GatewayJobService
) -> None:
    await cluster.put(RUNNING)
    refusal = errors.LimitUnavailable("cpu_set", "the host has no core 7")
    node.on("UpdateJob", fail(refusal))
    with pytest.raises(NodeError) as caught:
        await service.UpdateJob(job_service_pb2.UpdateJobRequest(id=ID, cpu_set="7"), Call().context)
    assert caught.value.status.details == str(refusal)


async def test_a_node_that_refuses_the_gateway_is_unreachable_for_the_client(
    cluster: FakeCluster, node: ScriptedNode, service: GatewayJobService
) -> None:
    await cluster.put(RUNNING)
    node.on("StopJob", fail(errors.Unauthenticated("the certificate has expired")))
    with pytest.raises(errors.NodeUnreachable, match="refuses the certificate of the gateway"):
        await service.StopJob(job_service_pb2.StopJobRequest(id=ID), Call().context)
