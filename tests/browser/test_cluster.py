"""Tests of the page with a gateway: nodes, the places of jobs, and the form. The gateway is scripted."""

import asyncio
import re
import signal
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path

import grpc
import pytest
import pytest_asyncio
from fake_gateway import OWNER, FakeGateway
from playwright.async_api import expect

from dashboard import Dashboard
from jobworker.v1 import job_pb2, job_service_pb2
from live import Server
from scripted import JOB_ID, StreamRequest
from scripted_messages import Refusal, StreamMessage, end_by_signal, stdout
from tests.browser.accessibility import overflow, violations
from tests.browser.conftest import OpenPage
from tests.browser.faults import Faults
from tests.browser.locators import button, log, log_state, row, table

OTHER_ID = JOB_ID[:-1] + "2"
QUEUED_ID = JOB_ID[:-1] + "3"
EVICTED = job_pb2.TERMINATION_REASON_EVICTED


@pytest_asyncio.fixture(loop_scope="session")
async def gateway(certs: Path) -> AsyncIterator[FakeGateway]:
    """A gateway with two nodes, a job on each, and a queued job."""
    async with FakeGateway.started(certs) as started:
        started.cluster.add("node1").create_time.GetCurrentTime()
        away = started.cluster.add("node2", ready=False)
        away.conditions[0].message = "the lease of the node has ended"
        running = started.jobs.add(
            node="node1", attempt=2, owner=OWNER, queue="batch", retry_on_lost=True, command="train"
        )
        running.ClearField("exit_code")
        running.ClearField("termination")
        running.status = job_pb2.JOB_STATUS_RUNNING
        running.node_selector["zone"] = "a"
        running.create_time.GetCurrentTime()
        running.start_time.GetCurrentTime()
        evicted = started.jobs.add(OTHER_ID, node="node2", owner=OWNER, status=job_pb2.JOB_STATUS_STOPPED)
        evicted.termination.reason, evicted.termination.message = EVICTED, "node2 lost its lease"
        queued = started.jobs.add(QUEUED_ID, owner=OWNER, status=job_pb2.JOB_STATUS_QUEUED)
        queued.ClearField("exit_code")
        queued.ClearField("termination")
        yield started


@pytest_asyncio.fixture(loop_scope="session")
async def dashboard(gateway: FakeGateway, certs: Path, resources: ExitStack) -> Dashboard:
    """A dashboard of the gateway."""
    # In a thread, because the gateway answers in this loop.
    starting = Dashboard.started(Server(gateway.address, certs))
    return await asyncio.to_thread(resources.enter_context, starting)


async def test_nodes_have_a_page(open_page: OpenPage, dashboard: Dashboard) -> None:
    page = await open_page("/", at=dashboard)
    await page.get_by_role("link", name="Nodes").click()
    await expect(page).to_have_url(re.compile("/nodes$"))
    nodes = page.get_by_role("table", name="Nodes")
    first, second = nodes.get_by_role("row", name="node1"), nodes.get_by_role("row", name="node2")
    await expect(first).to_contain_text("Ready")
    for text in ("50% of 400%", "512 MiB of 8.0 GiB", "1 of 100", "zone=a", "0.1.0"):
        await expect(first).to_contain_text(text)
    await expect(second).to_contain_text("Not ready")
    await expect(second).to_contain_text("the lease of the node has ended")
    await first.get_by_role("link", name="node1").click()
    await expect(row(page, JOB_ID)).to_be_visible()
    await expect(row(page, OTHER_ID)).to_have_count(0)


async def test_nodes_change_while_the_page_is_open(
    open_page: OpenPage, dashboard: Dashboard, gateway: FakeGateway
) -> None:
    page = await open_page("/nodes", at=dashboard)
    await expect(page.get_by_role("row", name="node1")).to_contain_text("Ready")
    gateway.cluster.nodes[0].schedulable = False
    await expect(page.get_by_role("row", name="node1")).to_contain_text("Cordoned")


async def test_nodes_stay_while_the_control_plane_is_away(
    open_page: OpenPage, dashboard: Dashboard, gateway: FakeGateway, faults: Faults
) -> None:
    faults.expect("status of 503")
    page = await open_page("/nodes", at=dashboard)
    await expect(page.get_by_role("row", name="node1")).to_be_visible()
    away = Refusal(grpc.StatusCode.UNAVAILABLE, "the control plane does not answer", "CLUSTER_UNAVAILABLE")
    gateway.cluster.refusals = [away] * 1_000
    await expect(page.get_by_role("main").get_by_role("alert")).to_contain_text(
        "The server did not return the nodes: the control plane does not answer"
    )
    await expect(page.get_by_role("row", name="node1")).to_be_visible()
    gateway.cluster.refusals = []
    await expect(page.get_by_role("main").get_by_role("alert")).to_have_count(0)


@pytest.mark.parametrize(
    ("view", "text"), [("/nodes", "node1"), ("/create", "Node selector"), ("/", "train")]
)
async def test_views_of_a_cluster_meet_wcag_aa(
    open_page: OpenPage, dashboard: Dashboard, view: str, text: str
) -> None:
    page = await open_page(view, at=dashboard, color_scheme="light")
    await expect(page.get_by_role("main").get_by_text(text, exact=True)).to_be_visible()
    assert await violations(page) == []
    await page.emulate_media(color_scheme="dark")
    assert await violations(page) == []
    await page.set_viewport_size({"width": 360, "height": 740})
    assert await overflow(page) == 0
    assert await violations(page) == []


async def test_jobs_have_a_node_to_filter_by(open_page: OpenPage, dashboard: Dashboard) -> None:
    page = await open_page("/", at=dashboard)
    await expect(table(page).get_by_role("columnheader", name="Node")).to_be_visible()
    await expect(row(page, OTHER_ID)).to_contain_text("evicted")
    await row(page, JOB_ID).get_by_role("button", name="node1").click()
    await expect(row(page, OTHER_ID)).to_have_count(0)
    await expect(row(page, QUEUED_ID)).to_have_count(0)
    await expect(row(page, JOB_ID)).to_be_visible()
    await expect(page).to_have_url(re.compile(r"\?node=node1$"))
    await page.get_by_label("Node", exact=True).select_option("node2")
    await expect(row(page, OTHER_ID)).to_be_visible()
    await expect(row(page, JOB_ID)).to_have_count(0)
    await button(page, "Clear filters").click()
    await expect(row(page, JOB_ID)).to_be_visible()


async def test_jobs_that_the_node_filter_hides_are_not_selected(
    open_page: OpenPage, dashboard: Dashboard
) -> None:
    page = await open_page("/", at=dashboard)
    await expect(row(page, QUEUED_ID)).to_be_visible()
    await page.get_by_role("checkbox", name="Select all jobs").check()
    bar = page.get_by_role("toolbar", name="Selected jobs")
    await expect(bar).to_contain_text("3 selected")
    await page.get_by_label("Node", exact=True).select_option("node2")
    await expect(bar).to_contain_text("1 selected")


async def test_the_size_of_a_log_that_a_gateway_does_not_know_is_not_shown(
    open_page: OpenPage, dashboard: Dashboard, gateway: FakeGateway
) -> None:
    """A list has the size at the last change of the job; GetJob asks the node."""
    gateway.jobs.jobs[JOB_ID].log_size = gateway.jobs.jobs[OTHER_ID].log_size = 2_048
    page = await open_page("/", at=dashboard)
    for job_id, size in ((JOB_ID, "\N{EN DASH}"), (OTHER_ID, "2.0 KiB"), (QUEUED_ID, "0 B")):
        await expect(row(page, job_id).locator(".cell-output")).to_have_text(size)


async def test_the_page_of_a_running_job_follows_it_to_its_end(
    open_page: OpenPage, dashboard: Dashboard, gateway: FakeGateway
) -> None:
    job, ended = gateway.jobs.jobs[JOB_ID], asyncio.Event()

    async def streaming(request: StreamRequest) -> AsyncIterator[StreamMessage]:
        if not request.offset:
            yield stdout(b"ready\n", 0)
        await ended.wait()
        yield StreamMessage(result=job, offset=len(b"ready\n"))

    async def stopping(_: job_service_pb2.StopJobRequest) -> job_pb2.Job:
        end_by_signal(job, signal.SIGTERM, job_pb2.TERMINATION_REASON_STOPPED, "stopped by CN=admin")
        ended.set()
        return job

    gateway.jobs.streaming, gateway.jobs.stopping = streaming, stopping
    page = await open_page(f"/jobs/{JOB_ID}", at=dashboard)
    await expect(log(page)).to_contain_text("ready")
    await expect(log_state(page)).to_have_text("Live")
    await button(page, "Stop").click()
    await button(page, "Stop the job").click()
    await expect(page.get_by_role("heading", level=1)).to_contain_text("Stopped")
    await expect(log_state(page)).to_have_text("Stopped: stopped by CN=admin")
    await expect(button(page, "Stop")).to_have_count(0)
    [request] = gateway.jobs.stopped
    assert request.id == JOB_ID


async def test_the_page_of_a_final_job_has_its_log_and_its_node(
    open_page: OpenPage, dashboard: Dashboard, gateway: FakeGateway
) -> None:
    gateway.jobs.log = b"before the eviction\n"
    page = await open_page(f"/jobs/{OTHER_ID}", at=dashboard)
    await expect(page.get_by_role("heading", level=1)).to_contain_text("evicted")
    await expect(log(page)).to_contain_text("before the eviction")
    await expect(log_state(page)).to_have_text("Stopped: node2 lost its lease")
    await page.get_by_role("tab", name="Record").click()
    await page.get_by_role("region", name="Command").get_by_role("link", name="node2").click()
    await expect(row(page, OTHER_ID)).to_be_visible()


async def test_the_record_has_the_place_of_the_job(open_page: OpenPage, dashboard: Dashboard) -> None:
    page = await open_page(f"/jobs/{JOB_ID}?tab=record", at=dashboard)
    facts = page.get_by_role("region", name="Command")
    for name, value in (
        ("Node", "node1"),
        ("Attempt", "2"),
        ("Queue", "batch"),
        ("Node selector", "zone=a"),
        ("If lost", "the cluster starts the job again"),
    ):
        fact = facts.locator("dl > div").filter(has=page.get_by_text(name, exact=True))
        await expect(fact).to_contain_text(value)
    await expect(page.get_by_role("list", name="Timeline")).to_contain_text("on node1 in attempt 2")
    await facts.get_by_role("link", name="node1").click()
    await expect(page).to_have_url(re.compile(r"/\?node=node1$"))


async def test_the_log_of_another_attempt_replaces_the_former_one(
    open_page: OpenPage, dashboard: Dashboard, gateway: FakeGateway
) -> None:
    job, again = gateway.jobs.jobs[JOB_ID], asyncio.Event()

    async def streaming(request: StreamRequest) -> AsyncIterator[StreamMessage]:
        output = b"first\n" if job.attempt == 2 else b"second\n"
        if request.offset < len(output):
            yield stdout(output[request.offset :], request.offset)
        await again.wait()
        if output == b"first\n":
            raise Refusal(grpc.StatusCode.OUT_OF_RANGE, "the job has started again", "OFFSET_OUT_OF_RANGE")
        yield StreamMessage(result=job, offset=len(output))

    gateway.jobs.streaming = streaming
    page = await open_page(f"/jobs/{JOB_ID}", at=dashboard)
    await expect(log(page)).to_contain_text("first")
    job.attempt = 3
    again.set()
    await expect(log(page)).to_contain_text("second")
    await expect(log(page)).not_to_contain_text("first")


async def test_the_form_places_a_job(open_page: OpenPage, dashboard: Dashboard, gateway: FakeGateway) -> None:
    page = await open_page("/create", at=dashboard)
    await page.get_by_label("Command", exact=True).fill("make test")
    await page.get_by_label("Queue", exact=True).fill("batch")
    await page.get_by_label("Node selector", exact=True).fill("zone=a")
    await page.get_by_label("Start again if lost").check()
    await page.get_by_label("Limit the time in the queue").uncheck()
    await page.get_by_text("The same job as a command").click()
    command = "jobworker run --queue-name=batch --node-selector=zone=a --retry-on-lost make test"
    await expect(page.get_by_text(command)).to_be_visible()
    await button(page, "Create job").click()
    await expect(page).to_have_url(re.compile(rf"/jobs/{JOB_ID}$"))
    [request] = gateway.jobs.created
    assert (request.queue, dict(request.node_selector)) == ("batch", {"zone": "a"})
    assert request.retry_on_lost
    assert not request.HasField("queue_timeout")


async def test_a_single_host_shows_nothing_of_a_cluster(open_page: OpenPage) -> None:
    page = await open_page("/create")
    await expect(page.get_by_label("Command", exact=True)).to_be_visible()
    await expect(page.get_by_label("Node selector", exact=True)).to_have_count(0)
    await expect(page.get_by_role("link", name="Nodes")).to_have_count(0)
    await page.goto("/nodes")
    await expect(page.get_by_text("This server has no nodes")).to_be_visible()
