"""Check CreateJob, GetJob, ListJobs and StopJob as any client sees them."""

import asyncio
import uuid
from typing import Any

import grpc
import pytest
from google.protobuf import duration_pb2, json_format

from jobworker.v1 import job_output_pb2, job_pb2, job_service_pb2
from live import SLOW, Server, eventually, pids_with
from live_client import Client, refused

Request = job_service_pb2.CreateJobRequest


async def test_job_runs_and_its_record_is_true(admin: Client) -> None:
    job, output = await admin.run("sh", "-c", "echo hello; echo oops >&2; exit 0", labels={"team": "a"})
    assert job.status == job_pb2.JOB_STATUS_COMPLETED
    assert job.exit_code == 0
    assert sorted(output.splitlines()) == [b"hello", b"oops"]
    assert job.log_size == len(output)
    assert job.pid == 0
    assert job.labels == {"team": "a"}
    assert "OU=Admin" in job.owner
    assert job.termination.reason == job_pb2.TERMINATION_REASON_EXITED
    assert job.create_time.ToNanoseconds() <= job.start_time.ToNanoseconds() <= job.end_time.ToNanoseconds()


async def test_json_names_match_the_design_document(admin: Client) -> None:
    job, _ = await admin.run("false", max_io_bps=1 << 20)
    named = json_format.MessageToDict(job)
    assert {"maxCPU", "maxMemory", "maxIOBPS", "startTime", "endTime", "exitCode"} <= named.keys()
    assert named["status"] == "JOB_STATUS_FAILED"


@pytest.mark.parametrize(
    ("script", "status", "exit_code", "signal"),
    [
        ("exit 0", job_pb2.JOB_STATUS_COMPLETED, 0, 0),
        ("exit 1", job_pb2.JOB_STATUS_FAILED, 1, 0),
        ("exit 137", job_pb2.JOB_STATUS_FAILED, 137, 0),
        ("kill -KILL $$", job_pb2.JOB_STATUS_FAILED, None, 9),
        ("kill -SEGV $$", job_pb2.JOB_STATUS_FAILED, None, 11),
    ],
)
async def test_exit_code_and_signal_are_distinct(
    admin: Client, script: str, status: int, exit_code: int | None, signal: int
) -> None:
    job, _ = await admin.run("sh", "-c", script)
    assert job.status == status
    assert (job.exit_code if job.HasField("exit_code") else None) == exit_code
    assert job.termination.signal == signal
    expected = job_pb2.TERMINATION_REASON_SIGNALED if signal else job_pb2.TERMINATION_REASON_EXITED
    assert job.termination.reason == expected


async def test_an_isolated_job_has_a_terminal_of_its_private_devices(admin: Client) -> None:
    script = "tty; stty size; ls /dev/pts"
    job = await admin.create("sh", "-c", script, terminal=job_pb2.JobTerminal(columns=101, rows=33))
    lines = (await admin.stream(job.id)).bytes().split()
    assert lines == [b"/dev/pts/0", b"33", b"101", b"0", b"ptmx"]


async def test_the_server_environment_is_not_inherited(admin: Client) -> None:
    _, output = await admin.run("env", env={"GREETING": "hi there", "LANG": "C"})
    variables = dict(line.split("=", 1) for line in output.decode().splitlines())
    assert variables.keys() == {"PATH", "HOME", "USER", "LANG", "GREETING"}
    assert variables["GREETING"] == "hi there"
    assert variables["LANG"] == "C"


async def test_process_has_three_descriptors_and_a_session_of_its_own(admin: Client) -> None:
    script = "ls /proc/$$/fd; ps -o sid= -p $$ | tr -d ' '; echo $$"
    _, output = await admin.run("sh", "-c", script)
    *descriptors, session, pid = output.decode().split()
    assert descriptors == ["0", "1", "2"]
    assert session == pid


async def test_working_directory(admin: Client) -> None:
    _, output = await admin.run("pwd", working_directory="/usr")
    assert output == b"/usr\n"


async def test_arguments_arrive_as_they_were_sent(admin: Client) -> None:
    args = ["", " ", "a\nb", "ü€", "$HOME", "-n", "x" * 100_000]
    _, output = await admin.run("printf", r"%s\0", *args)
    assert output == b"".join(arg.encode() + b"\0" for arg in args)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"command": ""}, "command"),
        ({"command": "a\0b"}, "command"),
        ({"args": ["\0"]}, "args"),
        ({"max_cpu": -1}, "max_cpu"),
        ({"max_cpu": 100_001}, "max_cpu"),
        ({"max_memory": -5}, "max_memory"),
        ({"max_memory": 16_777_217}, "max_memory"),
        ({"max_io_bps": -1}, "max_io_bps"),
        ({"max_pids": -1}, "max_pids"),
        ({"working_directory": "relative"}, "working_directory"),
        ({"env": {"A=B": "x"}}, "env"),
        ({"env": {"": "x"}}, "env"),
        ({"labels": {"bad key": "x"}}, "labels"),
        ({"stop_signal": "SIGNOPE"}, "stop_signal"),
        ({"timeout": duration_pb2.Duration(seconds=-1)}, "timeout"),
        ({"timeout": duration_pb2.Duration()}, "timeout"),
        ({"stop_grace_period": duration_pb2.Duration(seconds=90_000)}, "stop_grace_period"),
        ({"request_id": "x" * 129}, "request_id"),
        ({"limits_policy": 99}, "limits_policy"),
    ],
)
async def test_invalid_value_is_refused_with_its_field_name(
    admin: Client, fields: dict[str, Any], field: str
) -> None:
    async with refused(grpc.StatusCode.INVALID_ARGUMENT) as refusal:
        await admin.stub.CreateJob(Request(**{"command": "true", **fields}), timeout=30)
    assert refusal.reason == "INVALID_REQUEST"
    assert [name.split("[")[0].split(".")[0] for name in refusal.fields] == [field]


@pytest.mark.parametrize(
    ("argv", "errno"),
    [
        (["no-such-command"], "ENOENT"),
        (["/no/such/file"], "ENOENT"),
        (["/etc/passwd"], "EACCES"),
        (["/usr"], "EACCES"),
        (["/etc/passwd/x"], "ENOTDIR"),
    ],
)
async def test_command_that_cannot_be_executed_leaves_no_job(
    admin: Client, argv: list[str], errno: str
) -> None:
    label = {"test": uuid.uuid4().hex}
    async with refused(grpc.StatusCode.INVALID_ARGUMENT) as refusal:
        await admin.create(*argv, labels=label)
    assert refusal.reason == "COMMAND_NOT_STARTED"
    assert errno in refusal.message
    listed = await admin.stub.ListJobs(job_service_pb2.ListJobsRequest(labels=label), timeout=30)
    assert not listed.jobs


async def test_request_above_the_message_limit(admin: Client) -> None:
    async with refused(grpc.StatusCode.RESOURCE_EXHAUSTED) as refusal:
        await admin.create("true", *("x" * 100_000 for _ in range(6)))
    assert refusal.reason == "MESSAGE_TOO_LARGE"
    assert "use at most 524288" in refusal.message


async def test_repeated_request_id_starts_one_job(admin: Client) -> None:
    request = Request(command="sleep", args=["0.2"], request_id=uuid.uuid4().hex)
    first, second = await asyncio.gather(*(admin.stub.CreateJob(request, timeout=30) for _ in range(2)))
    assert first.job.id == second.job.id
    async with refused(grpc.StatusCode.ALREADY_EXISTS) as refusal:
        await admin.stub.CreateJob(Request(command="true", request_id=request.request_id), timeout=30)
    assert refusal.reason == "REQUEST_ID_REUSED"


async def test_unknown_job(admin: Client) -> None:
    for job_id in (str(uuid.uuid4()), "x", ""):
        for call in (
            admin.stub.GetJob(job_service_pb2.GetJobRequest(id=job_id), timeout=30),
            admin.stub.StopJob(job_service_pb2.StopJobRequest(id=job_id), timeout=30),
        ):
            async with refused(grpc.StatusCode.NOT_FOUND) as refusal:
                await call
            assert refusal.reason == "JOB_NOT_FOUND"
        async with refused(grpc.StatusCode.NOT_FOUND):
            await admin.stream(job_id)


async def test_list_pages_and_filters(admin: Client) -> None:
    label = {"test": uuid.uuid4().hex}
    created = [await admin.create("true", labels=label) for _ in range(5)]
    for job in created:
        await admin.ended(job.id)
    seen: list[str] = []
    token = ""
    while True:
        request = job_service_pb2.ListJobsRequest(page_size=2, page_token=token, labels=label)
        page = await admin.stub.ListJobs(request, timeout=30)
        assert len(page.jobs) <= 2
        seen += [job.id for job in page.jobs]
        token = page.next_page_token
        if not token:
            break
    assert seen == [job.id for job in reversed(created)]
    running = job_service_pb2.ListJobsRequest(labels=label, statuses=[job_pb2.JOB_STATUS_RUNNING])
    assert not (await admin.stub.ListJobs(running, timeout=30)).jobs
    by_prefix = job_service_pb2.ListJobsRequest(id_prefix=created[0].id)
    assert [job.id for job in (await admin.stub.ListJobs(by_prefix, timeout=30)).jobs] == [created[0].id]


@pytest.mark.parametrize("fields", [{"page_size": -1}, {"page_token": "garbage!"}, {"statuses": [77]}])
async def test_bad_list_request(admin: Client, fields: dict[str, Any]) -> None:
    async with refused(grpc.StatusCode.INVALID_ARGUMENT) as refusal:
        await admin.stub.ListJobs(job_service_pb2.ListJobsRequest(**fields), timeout=30)
    assert refusal.reason == "INVALID_REQUEST"


async def test_stop_ends_the_job_with_its_signal(admin: Client) -> None:
    script = "trap 'echo bye; exit 7' USR1; echo ready; while :; do sleep 0.05; done"
    job = await admin.create("sh", "-c", script, stop_signal="USR1")
    await admin.wrote(job.id, b"ready")
    stopped = (await admin.stub.StopJob(job_service_pb2.StopJobRequest(id=job.id), timeout=60)).job
    assert stopped.status == job_pb2.JOB_STATUS_STOPPED
    assert stopped.exit_code == 7
    assert stopped.termination.reason == job_pb2.TERMINATION_REASON_STOPPED
    assert stopped.termination.stopped_by == stopped.owner
    output = await admin.stream(job.id)
    assert output.bytes(job_output_pb2.OUTPUT_SOURCE_STDOUT) == b"ready\nbye\n"


async def test_stop_of_a_job_that_ignores_its_signal_ends_with_the_grace_period(admin: Client) -> None:
    script = "trap '' TERM; echo ready; while :; do sleep 0.05; done"
    job = await admin.create("sh", "-c", script, stop_grace_period=duration_pb2.Duration(nanos=300_000_000))
    await admin.wrote(job.id, b"ready")
    request = job_service_pb2.StopJobRequest(id=job.id)
    first, second = await asyncio.gather(*(admin.stub.StopJob(request, timeout=60) for _ in range(2)))
    assert first.job == second.job
    assert first.job.status == job_pb2.JOB_STATUS_STOPPED
    assert first.job.termination.signal == 9
    assert not first.job.HasField("exit_code")


async def test_stop_of_a_final_job_changes_nothing(admin: Client) -> None:
    job, _ = await admin.run("sh", "-c", "exit 4")
    again = (await admin.stub.StopJob(job_service_pb2.StopJobRequest(id=job.id), timeout=30)).job
    assert again == job


async def test_stop_of_a_stopped_process(admin: Client) -> None:
    job = await admin.create("sh", "-c", "kill -STOP $$; sleep 100")
    stopped = (await admin.stub.StopJob(job_service_pb2.StopJobRequest(id=job.id), timeout=60)).job
    assert stopped.status == job_pb2.JOB_STATUS_STOPPED


async def test_timeout(admin: Client) -> None:
    job, _ = await admin.run("sleep", "1000", timeout=duration_pb2.Duration(nanos=200_000_000))
    assert job.status == job_pb2.JOB_STATUS_FAILED
    assert job.termination.reason == job_pb2.TERMINATION_REASON_TIMED_OUT
    assert job.termination.signal_name == "SIGTERM"
    assert not job.termination.stopped_by
    assert job.usage.wall_usec >= 200_000


@pytest.mark.root
async def test_leftover_process_is_killed_before_the_status_is_final(admin: Client) -> None:
    seconds = str(100_000 + uuid.uuid4().int % 100_000)
    job, _ = await admin.run("sh", "-c", f"setsid sleep {seconds} & exit 3")
    assert pids_with(seconds) == []
    assert job.status == job_pb2.JOB_STATUS_FAILED
    assert job.exit_code == 3
    assert job.termination.leftovers_killed


@pytest.mark.root
async def test_get_of_a_running_job(admin: Client, viewer: Client) -> None:
    job = await admin.create("sleep", "1000")
    await admin.started(job.id)
    seen = (await viewer.stub.GetJob(job_service_pb2.GetJobRequest(id=job.id), timeout=30)).job
    assert seen.status == job_pb2.JOB_STATUS_RUNNING
    assert seen.pid > 0
    assert not seen.HasField("end_time")
    assert not seen.HasField("exit_code")
    assert seen.usage.HasField("cpu_user_usec")
    request = job_service_pb2.StopJobRequest(id=job.id, grace_period=duration_pb2.Duration())
    assert (await admin.stub.StopJob(request, timeout=30)).job.termination.signal == 9


async def test_many_jobs_at_once_and_nothing_left(admin: Client, server: Server) -> None:
    async def one(number: int) -> None:
        job, output = await admin.run("sh", "-c", f"echo {number}; exit {number % 7}")
        assert output == f"{number}\n".encode()
        assert job.exit_code == number % 7

    await asyncio.gather(*(one(number) for number in range(20 if SLOW else 100)))
    if server.process:
        await eventually(lambda: server.job_cgroups() == [])
