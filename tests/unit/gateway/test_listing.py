"""Lists of jobs: the archive and the table as one list."""

from typing import Any

import pytest

from cluster_jobs import ALICE, BOB, final, job, job_id
from fake_cluster import FakeCluster
from gateway_calls import Call, service_of
from jobworker.v1 import cluster_service_pb2, job_pb2, job_service_pb2
from jobworker_gateway import listing
from jobworker_gateway.archive import paging
from jobworker_gateway.cluster_service import ClusterService
from jobworker_gateway.engine import ArchivedJob
from jobworker_gateway.node_connections import NodeConnections
from jobworkerd.errors import ClusterUnavailable, InvalidRequest
from scripted_node import Context, ScriptedNode, answer

IDS = [job_id(number) for number in range(10)]


@pytest.fixture
async def filled(cluster: FakeCluster) -> FakeCluster:
    """A cluster whose jobs are in turn archived, running and queued."""
    for number, each in enumerate(IDS):
        owner = ALICE if number < 6 else BOB
        states = [
            final(each, owner=owner),
            job(each, node="one", owner=owner),
            job(each, "QUEUED", owner=owner, labels={"a": "1"}),
        ]
        await cluster.put(states[number % 3])
    # Some final jobs have left the table.
    cluster.engine.jobs.remove(IDS[0])
    cluster.engine.jobs.remove(IDS[6])
    return cluster


async def list_all(cluster: FakeCluster, nodes: NodeConnections, **fields: Any) -> list[list[str]]:
    """Return the ids in each page."""
    service = service_of(cluster.jobs, nodes)
    token, pages = "", []
    while True:
        request = job_service_pb2.ListJobsRequest(page_token=token, **fields)
        page = await service.ListJobs(request, Call().context)
        pages.append([each.id for each in page.jobs])
        token = page.next_page_token
        if not token:
            return pages


@pytest.mark.parametrize("size", [1, 3, 10, 100])
async def test_pages_have_all_jobs_newest_first(
    filled: FakeCluster, nodes: NodeConnections, size: int
) -> None:
    pages = await list_all(filled, nodes, page_size=size)
    assert [each for page in pages for each in page] == IDS[::-1]
    assert max(map(len, pages)) == min(size, len(IDS))


@pytest.mark.parametrize("examined", [1, 2, 100])
@pytest.mark.parametrize(
    ("fields", "numbers"),
    [
        ({"owner": BOB}, [9, 8, 7, 6]),
        ({"statuses": [job_pb2.JOB_STATUS_RUNNING]}, [7, 4, 1]),
        ({"statuses": [job_pb2.JOB_STATUS_QUEUED, job_pb2.JOB_STATUS_COMPLETED]}, [9, 8, 6, 5, 3, 2, 0]),
        ({"labels": {"a": "1"}}, [8, 5, 2]),
        ({"id_prefix": IDS[4]}, [4]),
    ],
)
async def test_filters_apply_to_both(
    filled: FakeCluster,
    nodes: NodeConnections,
    fields: dict[str, Any],
    numbers: list[int],
    examined: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(paging, "SCANNED_ROWS", 2)
    monkeypatch.setattr(listing, "EXAMINED_JOBS", examined)
    pages = await list_all(filled, nodes, page_size=2, **fields)
    assert [each for page in pages for each in page] == [IDS[number] for number in numbers]


async def test_the_archive_is_right_about_a_job_that_the_table_has_running(
    filled: FakeCluster, nodes: NodeConnections
) -> None:
    await filled.archive.add(ArchivedJob(final(IDS[1])))
    service = service_of(filled.jobs, nodes)
    page = await service.ListJobs(job_service_pb2.ListJobsRequest(), Call().context)
    (found,) = (each for each in page.jobs if each.id == IDS[1])
    assert found == final(IDS[1])


@pytest.mark.parametrize("leaves_the_table", [False, True])
async def test_a_job_that_is_archived_during_the_list_is_not_missing(
    filled: FakeCluster, nodes: NodeConnections, monkeypatch: pytest.MonkeyPatch, *, leaves_the_table: bool
) -> None:
    read = filled.archive.page

    async def page(*arguments: Any) -> Any:
        found = await read(*arguments)
        await filled.put(final(IDS[1]))
        if leaves_the_table:
            filled.engine.jobs.remove(IDS[1])
        return found

    monkeypatch.setattr(filled.archive, "page", page)
    assert await list_all(filled, nodes) == [IDS[::-1]]


async def test_a_final_job_that_the_table_has_running_is_not_among_the_running_ones(
    filled: FakeCluster, nodes: NodeConnections
) -> None:
    await filled.archive.add(ArchivedJob(final(IDS[4])))
    pages = await list_all(filled, nodes, statuses=[job_pb2.JOB_STATUS_RUNNING])
    assert pages == [[IDS[7], IDS[1]]]


async def test_deleted_jobs_in_the_table_hide_no_other_job(
    cluster: FakeCluster, nodes: NodeConnections
) -> None:
    for each in IDS[:3]:
        await cluster.put(job(each, node="one"))
    for each in IDS[3:]:
        await cluster.put(final(each))
        await cluster.archive.delete(each)
    pages = await list_all(cluster, nodes, page_size=2)
    assert [each for page in pages for each in page] == IDS[2::-1]


async def test_a_gateway_that_does_not_know_all_jobs_yet_gives_no_list(
    filled: FakeCluster, nodes: NodeConnections
) -> None:
    filled.engine.complete = False
    with pytest.raises(ClusterUnavailable, match=r"know all jobs yet\); retry$"):
        await list_all(filled, nodes)
    with pytest.raises(ClusterUnavailable, match=r"know all jobs yet\); retry$"):
        await ClusterService(filled.engine).ListNodes(cluster_service_pb2.ListNodesRequest(), Call().context)


async def test_a_queued_job_has_its_position(filled: FakeCluster, nodes: NodeConnections) -> None:
    service = service_of(filled.jobs, nodes)
    request = job_service_pb2.ListJobsRequest(statuses=[job_pb2.JOB_STATUS_QUEUED])
    page = await service.ListJobs(request, Call().context)
    assert [each.queue_position for each in page.jobs] == [3, 2, 1]


async def test_running_jobs_have_their_usage_on_request(
    cluster: FakeCluster, node: ScriptedNode, nodes: NodeConnections
) -> None:
    await cluster.put(job(IDS[0], node="one"))
    await cluster.put(job(IDS[1], node="gone"))
    used = job(IDS[0], node="one", usage=job_pb2.Usage(pids_peak_count=3))
    node.on("GetJob", answer(job_service_pb2.GetJobResponse(job=used)))
    service = service_of(cluster.jobs, nodes)
    page = await service.ListJobs(job_service_pb2.ListJobsRequest(live_usage=True), Call().context)
    assert list(page.jobs) == [job(IDS[1], node="gone"), used]


async def test_a_job_that_is_deleted_during_the_list_does_not_end_it(
    cluster: FakeCluster, node: ScriptedNode, nodes: NodeConnections
) -> None:
    await cluster.put(job(IDS[0], node="one"))

    async def end_and_delete(context: Context) -> None:
        await cluster.put(final(IDS[0]))
        await cluster.archive.delete(IDS[0])
        cluster.engine.jobs.remove(IDS[0])
        await answer(job_service_pb2.GetJobResponse(job=final(IDS[0])))(context)

    node.on("GetJob", end_and_delete)
    service = service_of(cluster.jobs, nodes)
    page = await service.ListJobs(job_service_pb2.ListJobsRequest(live_usage=True), Call().context)
    assert [each.id for each in page.jobs] == [IDS[0]]


async def test_nodes_are_listed_by_name_in_pages(cluster: FakeCluster) -> None:
    cluster.engine.nodes.clear()
    for name in ("c", "a", "b"):
        cluster.add_node(name, f"{name}:1")
    service = ClusterService(cluster.engine)
    first = await service.ListNodes(cluster_service_pb2.ListNodesRequest(page_size=2), Call().context)
    assert [each.name for each in first.nodes] == ["a", "b"]
    request = cluster_service_pb2.ListNodesRequest(page_size=2, page_token=first.next_page_token)
    second = await service.ListNodes(request, Call().context)
    assert ([each.name for each in second.nodes], second.next_page_token) == (["c"], "")


@pytest.mark.parametrize(
    ("request_", "problem"),
    [
        (cluster_service_pb2.ListNodesRequest(page_size=-1), "page_size: -1 is negative"),
        (cluster_service_pb2.ListNodesRequest(page_token="ü"), "page_token: not a token"),
        (cluster_service_pb2.ListNodesRequest(page_token="_w=="), "page_token: not a token"),
    ],
)
async def test_a_wrong_list_of_nodes_is_refused(
    cluster: FakeCluster, request_: cluster_service_pb2.ListNodesRequest, problem: str
) -> None:
    with pytest.raises(InvalidRequest, match=problem):
        await ClusterService(cluster.engine).ListNodes(request_, Call().context)


async def test_a_page_ends_where_the_archive_stopped(
    cluster: FakeCluster, nodes: NodeConnections, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paging, "SCANNED_ROWS", 2)
    for each in IDS[2:]:
        await cluster.archive.add(ArchivedJob(final(each)))
    await cluster.archive.add(ArchivedJob(final(IDS[1], command="wanted")))
    await cluster.put(job(IDS[0], command="wanted"))
    pages = await list_all(cluster, nodes, command_contains="wanted")
    assert pages == [[], [], [], [], [IDS[1], IDS[0]]]
