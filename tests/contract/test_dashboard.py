"""`jobworker dashboard`: the calls of a page reach the server, and only those of the page."""

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosedOK, InvalidStatus

from dashboard import Dashboard
from dashboard_page import SERVICE, Page, log_in, reason, responses
from jobworker.v1 import job_attach_pb2, job_pb2, job_service_pb2, job_watch_pb2
from live import Server
from live_client import Client

BIN = Path(sys.executable).parent
UNKNOWN_ID = "0199f3a0-0000-7000-8000-000000000001"


@pytest.fixture(scope="module")
def dashboard(server: Server) -> Iterator[Dashboard]:
    with Dashboard.started(server) as started:
        yield started


@pytest.fixture(scope="module")
def page(dashboard: Dashboard) -> Page:
    return Page.logged_in(dashboard.login)


@pytest.fixture(scope="module")
def viewer_page(server: Server) -> Iterator[Page]:
    with Dashboard.started(server, "viewer") as started:
        yield Page.logged_in(started.login)


def test_the_session_names_the_user(page: Page, viewer_page: Page) -> None:
    answer, body = page.request("GET", "/session")
    assert answer.status == 200
    session = json.loads(body)
    assert session["subject"].startswith("CN=admin")
    assert (session["role"], session["mode"], session["gateway"]) == ("Admin", "own", False)
    assert json.loads(viewer_page.request("GET", "/session")[1])["role"] == "Viewer"


def test_the_link_works_once(dashboard: Dashboard, page: Page) -> None:
    assert log_in(dashboard.origin, dashboard.login.partition("#")[2]).status == 401
    assert log_in(dashboard.origin, "").status == 401
    assert page.request("GET", "/session")[0].status == 200


def test_a_call_and_its_error(page: Page) -> None:
    answer, body = page.call("CreateJob", job_service_pb2.CreateJobRequest(command="true", max_memory=64))
    assert (answer.status, answer.headers["content-type"]) == (200, "application/proto")
    job = job_service_pb2.CreateJobResponse.FromString(body).job
    answer, body = page.call("GetJob", job_service_pb2.GetJobRequest(id=job.id))
    assert job_service_pb2.GetJobResponse.FromString(body).job.owner == job.owner
    answer, body = page.call("GetJob", job_service_pb2.GetJobRequest(id=UNKNOWN_ID))
    assert (answer.status, answer.headers["content-type"]) == (404, "application/json")
    error = json.loads(body)
    assert (error["code"], reason(error)) == ("not_found", "JOB_NOT_FOUND")


def test_the_role_of_the_user_applies(viewer_page: Page) -> None:
    answer, body = viewer_page.call("CreateJob", job_service_pb2.CreateJobRequest(command="true"))
    assert (answer.status, reason(json.loads(body))) == (403, "ROLE_REQUIRED")
    assert viewer_page.call("ListJobs", job_service_pb2.ListJobsRequest())[0].status == 200


async def test_a_stream_has_all_output_and_its_end(page: Page, admin: Client) -> None:
    job = await admin.create("sh", "-c", "seq 200000")
    async with page.stream("GetJobsStream") as stream:
        assert stream.subprotocol == "jobworker.v1"
        await stream.send(job_service_pb2.GetJobsStreamRequest(id=job.id).SerializeToString())
        await stream.send("end")
        messages, end = await responses(stream)
    assert end == {}
    chunks = [job_service_pb2.GetJobsStreamResponse.FromString(message) for message in messages]
    output = b"".join(chunk.payload for chunk in chunks)
    assert output == b"".join(b"%d\n" % number for number in range(1, 200_001))


async def test_pages_that_do_not_read_take_no_memory(page: Page, dashboard: Dashboard, admin: Client) -> None:
    """While another page reads the same 64 MiB."""
    size = 64 * 1024 * 1024
    job = await admin.create("sh", "-c", f"head -c {size} /dev/zero")
    before = dashboard.process.memory_info().rss
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(8):
            idle = await stack.enter_async_context(page.stream("GetJobsStream"))
            await idle.send(job_service_pb2.GetJobsStreamRequest(id=job.id).SerializeToString())
            idle.transport.pause_reading()
            stack.callback(idle.transport.abort)
        async with page.stream("GetJobsStream") as stream:
            await stream.send(job_service_pb2.GetJobsStreamRequest(id=job.id).SerializeToString())
            received = 0
            while isinstance(message := await stream.recv(), bytes):
                received += len(message)
                # After its last message the server closes the stream, and needs no more credit.
                with contextlib.suppress(ConnectionClosedOK):
                    await stream.send(str(received))
        assert received >= size
        assert dashboard.process.memory_info().rss - before < size


async def test_the_error_of_a_stream_is_its_end(page: Page) -> None:
    async with page.stream("GetJobsStream") as stream:
        await stream.send(job_service_pb2.GetJobsStreamRequest(id=UNKNOWN_ID).SerializeToString())
        messages, end = await responses(stream)
    assert messages == []
    error = end["error"]
    assert isinstance(error, dict)
    assert (error["code"], reason(error)) == ("not_found", "JOB_NOT_FOUND")


async def test_input_reaches_a_job_and_a_client_that_is_gone_frees_its_stdin(
    page: Page, admin: Client
) -> None:
    job = await admin.create("cat", stdin=job_pb2.JOB_STDIN_OPEN)
    start = job_attach_pb2.AttachStart(id=job.id, input_id="first")
    async with page.stream("AttachJob") as stream:
        await stream.send(job_service_pb2.AttachJobRequest(start=start).SerializeToString())
        await stream.recv()
        stream.transport.abort()
    start.input_id = "second"
    while not (output := await fed_output(page, start)):
        pass
    assert output == b"hello\n"


async def fed_output(page: Page, start: job_attach_pb2.AttachStart) -> bytes:
    """Feed a job until its end, and return its output; empty while another client feeds it."""
    async with page.stream("AttachJob") as stream:
        await stream.send(job_service_pb2.AttachJobRequest(start=start).SerializeToString())
        if isinstance(answer := await stream.recv(), str):
            assert reason(json.loads(answer)["error"]) == "STDIN_IN_USE"
            return b""
        for each in (
            job_service_pb2.AttachJobRequest(input=job_attach_pb2.InputChunk(data=b"hello\n")),
            job_service_pb2.AttachJobRequest(eof=job_attach_pb2.InputEnd(offset=6)),
        ):
            await stream.send(each.SerializeToString())
        messages, end = await responses(stream)
    assert end == {}
    answers = (job_service_pb2.AttachJobResponse.FromString(message) for message in messages)
    return b"".join(answer.output.payload for answer in answers)


async def test_without_a_session_nothing_reaches_the_server(page: Page) -> None:
    for cookie in ("", "__Host-jobworker=guess"):
        answer, body = page.request("POST", f"{SERVICE}/ListJobs", cookie=cookie)
        assert (answer.status, json.loads(body)["code"]) == (401, "unauthenticated")
        assert page.request("GET", "/session", cookie=cookie)[0].status == 401
        async with page.stream("WatchJobs", cookie=cookie) as stream:
            messages, end = await responses(stream)
        assert messages == []
        assert end["error"]["code"] == "unauthenticated"  # type: ignore[index]


async def test_requests_of_other_sites_are_refused(page: Page) -> None:
    evil = "http://evil.example"
    assert page.request("GET", "/", host="evil.example")[0].status == 421
    assert page.request("POST", f"{SERVICE}/ListJobs", origin=evil)[0].status == 403
    assert page.request("POST", f"{SERVICE}/ListJobs", origin="")[0].status == 403
    assert page.request("POST", f"{SERVICE}/ListJobs", sec_fetch_site="same-site")[0].status == 403
    with pytest.raises(InvalidStatus) as refused:
        async with page.stream("WatchJobs", origin=evil):
            pass
    assert refused.value.response.status_code == 403


async def test_other_services_are_not_passed_on(page: Page) -> None:
    for path in ("/grpc.health.v1.Health/Check", "/jobworker.v1.LoginService/GetIdentity"):
        answer, body = page.request("POST", path)
        assert (answer.status, json.loads(body)["code"]) == (501, "unimplemented")
    async with page.stream("GetJob") as stream:
        assert (await responses(stream))[1]["error"]["code"] == "unimplemented"  # type: ignore[index]


async def test_a_watch_continues_until_the_page_closes_it(page: Page, admin: Client) -> None:
    async with page.stream("WatchJobs") as stream:
        await stream.send(job_watch_pb2.WatchJobsRequest().SerializeToString())
        await stream.send("end")
        job = await admin.create("true")
        async for message in stream:
            assert isinstance(message, bytes)
            if job_watch_pb2.WatchJobsResponse.FromString(message).changed.job.id == job.id:
                break


def test_a_port_in_use_is_reported(dashboard: Dashboard, server: Server) -> None:
    port = dashboard.origin.rpartition(":")[2]
    done = start("--port", port, server=server)
    assert done.communicate(timeout=60)[1].startswith(
        f"error: port {port} of 127.0.0.1 cannot be used: Address already in use"
    )
    assert done.returncode == 1


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
async def test_a_signal_ends_the_dashboard_with_its_streams(
    server: Server, number: signal.Signals, code: int
) -> None:
    # The client reads no more after some unread messages, and would not see the end behind them.
    of_no_job = job_watch_pb2.WatchJobsRequest(labels={"of": "no-job"})
    with Dashboard.started(server) as started:
        page = Page.logged_in(started.login)
        async with page.stream("WatchJobs") as stream:
            await stream.send(of_no_job.SerializeToString())
            await stream.recv()
            started.process.send_signal(number)
            await stream.wait_closed()
        assert stream.close_code == 1012
        assert await asyncio.to_thread(started.process.wait, 60) == code


def start(*options: str, server: Server) -> "subprocess.Popen[str]":
    """Start a dashboard without a browser."""
    return subprocess.Popen(
        [BIN / "jobworker", "dashboard", "--no-browser", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={"JOBWORKER_SERVER": server.address, "JOBWORKER_CERTS": str(server.certs), "PATH": "/usr/bin"},
    )
