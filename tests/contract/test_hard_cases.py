"""Check races and evasions at the end of a job: early stops, double stops, daemons, escapes."""

import asyncio
import contextlib
import fcntl
import os
import signal
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from grpc import StatusCode

from jobworker.v1 import job_pb2, job_service_pb2
from live import SLOW, Server, eventually, pids_with
from live_client import Client, refused

FEW = SLOW or "JOBWORKER_SERVER" in os.environ
"""Whether a start is slow, as at a gateway. Only servers that the tests have not started have an address."""
RACES = 100 if FEW else 1_000
STOPS_DURING_START = 10 if FEW else 200
AT_ONCE = 10
SHORTEST_STEP, LONGEST_STEP = 0.000_5, 0.25
AN_HOUR = 3_600

DAEMON = """
import os, signal, sys
if os.fork():
    os.wait()
    sys.exit(int(sys.argv[2]))
os.setsid()
if os.fork():
    os._exit(0)
for number in range(1024):
    try:
        os.close(number)
    except OSError:
        pass
for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
    signal.signal(number, signal.SIG_IGN)
while True:
    signal.pause()
"""


async def listed(client: Client, labels: dict[str, str]) -> list[job_pb2.Job]:
    """Return the jobs that have all these labels."""
    request = job_service_pb2.ListJobsRequest(labels=labels, page_size=1_000)
    return list((await client.stub.ListJobs(request, timeout=60)).jobs)


def marker() -> str:
    """Return a unique argument that lets `pids_with` find a job's processes."""
    return str(100_000_000 + uuid.uuid4().int % 100_000_000)


@contextlib.contextmanager
def held(command: Path) -> Iterator[None]:
    """Block every execve(2) of a file with a lease (fcntl(2)) for up to 45 s."""
    with command.open("rb") as file:
        # SIGIO, the default, would end the test process.
        fcntl.fcntl(file, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        yield


@pytest.fixture
def command(job_files: Path) -> Path:
    """A program that runs until it is killed."""
    path = job_files / "command"
    path.write_text("#!/bin/sh\nexec sleep 1000\n")
    path.chmod(0o755)
    return path


async def starting(admin: Client, *argv: str, **fields: Any) -> tuple[asyncio.Task[job_pb2.Job], job_pb2.Job]:
    """Call CreateJob; return the pending call and the job as first listed outside of the queue."""
    labels = {"test": uuid.uuid4().hex}
    creation = asyncio.create_task(admin.create(*argv, labels=labels, **fields))
    while not (jobs := await listed(admin, labels)) or jobs[0].status == job_pb2.JOB_STATUS_QUEUED:
        if creation.done():
            creation.result()
    return creation, jobs[0]


def logged(server: Server) -> list[tuple[str, str | None]]:
    """Return the events in the server's log, each with its job id."""
    return [(event["event"], event.get("job_id")) for event in server.events()]


async def test_stop_during_the_start_returns_the_final_job(admin: Client, command: Path) -> None:
    with held(command):
        creation, seen = await starting(admin, str(command))
        assert seen.status == job_pb2.JOB_STATUS_INITIALIZING
        stopped = await admin.stop(seen.id)
    assert (await creation).id == stopped.id
    assert stopped.status == job_pb2.JOB_STATUS_STOPPED
    assert stopped.termination.signal_name == "SIGTERM"
    assert await admin.ended(stopped.id) == await admin.get(stopped.id) == stopped


async def test_stop_during_a_start_that_fails(server: Server, admin: Client, command: Path) -> None:
    """The stop signal has no default effect, so only the command could react to it."""
    os.truncate(command, 0)
    with held(command):
        creation, seen = await starting(admin, str(command), stop_signal="SIGWINCH")
        stopping = asyncio.create_task(admin.stop(seen.id, seconds=AN_HOUR))
        await eventually(lambda: not server.log or ("job stop", seen.id) in logged(server))
    for call, code in ((creation, StatusCode.INVALID_ARGUMENT), (stopping, StatusCode.NOT_FOUND)):
        async with refused(code):
            await call
    assert await listed(admin, dict(seen.labels)) == []


async def test_stop_at_any_point_of_a_start_ends_the_job(admin: Client) -> None:
    """The stop signal has no effect, so only SIGKILL ends the job."""
    seen_early = 0
    for _ in range(STOPS_DURING_START):
        creation, seen = await starting(admin, "sleep", "1000", stop_signal="SIGWINCH")
        stopped = await admin.stop(seen.id, seconds=0)
        assert (await creation).id == stopped.id
        assert stopped.status == job_pb2.JOB_STATUS_STOPPED
        assert await admin.get(stopped.id) == stopped
        seen_early += seen.status == job_pb2.JOB_STATUS_INITIALIZING
    assert seen_early


async def test_concurrent_stops_share_one_result_and_the_shorter_grace_period(
    admin: Client, viewer: Client
) -> None:
    job = await admin.create("sh", "-c", "trap '' TERM; echo ready; while :; do sleep 1; done")
    await admin.wrote(job.id, b"ready")
    follower = asyncio.ensure_future(viewer.ended(job.id))
    patient = asyncio.ensure_future(admin.stop(job.id, seconds=AN_HOUR))
    answers = await asyncio.gather(patient, *(admin.stop(job.id, seconds=0) for _ in range(5)), follower)
    assert all(answer == answers[0] for answer in answers)
    assert answers[0].status == job_pb2.JOB_STATUS_STOPPED
    assert answers[0].termination.signal_name == "SIGKILL"


async def test_stop_racing_with_exit_records_one_true_end(admin: Client) -> None:
    """Each round shifts the stop towards the less frequent outcome, so both occur on any host."""
    labels = {"test": uuid.uuid4().hex}
    records: dict[str, job_pb2.Job] = {}
    ends = {job_pb2.JOB_STATUS_FAILED: 0, job_pb2.JOB_STATUS_STOPPED: 0}

    async def race(rounds: int) -> None:
        delay, step, last = 0.0, SHORTEST_STEP, job_pb2.JOB_STATUS_UNSPECIFIED
        for _ in range(rounds):
            script = f"sleep {-delay:.4f}; exit 7" if delay < 0 else "exit 7"
            job = await admin.create("sh", "-c", script, labels=labels)
            await asyncio.sleep(max(delay, 0))
            stopped, followed = await asyncio.gather(admin.stop(job.id), admin.ended(job.id))
            assert stopped == followed == await admin.get(job.id)
            records[job.id] = stopped
            ends[stopped.status] += 1
            step = min(2 * step, LONGEST_STEP) if stopped.status == last else SHORTEST_STEP
            last = stopped.status
            delay += step if last == job_pb2.JOB_STATUS_STOPPED else -step

    await asyncio.gather(*(race(RACES // AT_ONCE) for _ in range(AT_ONCE)))
    for record in records.values():
        assert_one_true_end(record)
    later = await listed(admin, labels)
    assert later
    assert all(records[job.id] == job for job in later)
    assert all(ends.values())


def assert_one_true_end(job: job_pb2.Job) -> None:
    """Check that the record of a job that exits with 7 says either that or STOPPED, consistently."""
    by_itself = job.termination.reason == job_pb2.TERMINATION_REASON_EXITED
    if by_itself:
        assert job.status == job_pb2.JOB_STATUS_FAILED
        assert (job.exit_code, job.termination.signal) == (7, 0)
        assert job.termination.message == "exited with code 7"
    else:
        assert job.termination.reason == job_pb2.TERMINATION_REASON_STOPPED
        assert job.status == job_pb2.JOB_STATUS_STOPPED
        if job.HasField("start_time"):
            assert job.HasField("exit_code") == (not job.termination.signal)
            assert job.exit_code == 7 or job.termination.signal_name == "SIGTERM"
        else:  # at a gateway, a stop can find the job in the queue
            assert not job.HasField("exit_code")
            assert not job.termination.signal
    assert job.pid == 0
    assert job.start_time.ToNanoseconds() <= job.end_time.ToNanoseconds()


async def test_sigstopped_job_handles_its_stop_signal(admin: Client) -> None:
    script = "trap 'echo bye; exit 3' TERM; while :; do kill -STOP $$; done"
    job = await admin.started((await admin.create("sh", "-c", script)).id)
    await eventually(lambda: psutil.Process(job.pid).status() == psutil.STATUS_STOPPED)
    stopped = await admin.stop(job.id, seconds=AN_HOUR)
    assert stopped.status == job_pb2.JOB_STATUS_STOPPED
    assert stopped.exit_code == 3
    assert (await admin.stream(job.id)).bytes() == b"bye\n"


async def test_sigstopped_job_that_ignores_its_stop_signal_is_killed(admin: Client) -> None:
    created = await admin.create("sh", "-c", "trap '' TERM; while :; do kill -STOP $$; done")
    job = await admin.started(created.id)
    await eventually(lambda: psutil.Process(job.pid).status() == psutil.STATUS_STOPPED)
    stopped = await admin.stop(job.id, seconds=1)
    assert stopped.status == job_pb2.JOB_STATUS_STOPPED
    assert stopped.termination.signal_name == "SIGKILL"


@pytest.mark.root
async def test_daemon_without_descriptors_ends_before_the_status_is_final(admin: Client) -> None:
    mark = marker()
    job, _ = await admin.run("python3", "-c", DAEMON, mark, "5")
    assert pids_with(mark) == []
    assert job.status == job_pb2.JOB_STATUS_FAILED
    assert job.exit_code == 5
    assert job.termination.leftovers_killed


async def test_job_that_closes_its_output_keeps_running(admin: Client) -> None:
    job = await admin.create("sh", "-c", "echo last; exec >&- 2>&-; read -r line; sleep 1000 & wait; exit 6")
    await admin.wrote(job.id, b"last")
    await eventually(_has_no_output(job.pid))
    assert (await admin.get(job.id)).status == job_pb2.JOB_STATUS_RUNNING
    stopped = await admin.stop(job.id)
    assert stopped.status == job_pb2.JOB_STATUS_STOPPED
    assert stopped.log_size == len(b"last\n")


def _has_no_output(pid: int) -> Callable[[], bool]:
    return lambda: not any((Path(f"/proc/{pid}/fd") / number).is_symlink() for number in ("1", "2"))


@pytest.mark.root
@pytest.mark.parametrize(
    "leaves",
    [
        pytest.param("setsid sleep {mark}", id="session"),
        pytest.param("set -m; sleep {mark}", id="process group"),
        pytest.param("set -m; setsid -w setsid -w bash -c 'set -m; sleep {mark} & wait'", id="both, again"),
    ],
)
async def test_process_that_left_its_group_ends_with_the_job(admin: Client, leaves: str) -> None:
    mark = marker()
    script = f"{leaves.format(mark=mark)} & wait"
    job = await admin.create("bash", "-c", script)
    await eventually(lambda: any(psutil.Process(pid).name() == "sleep" for pid in pids_with(mark)))
    stopped = await admin.stop(job.id)
    assert pids_with(mark) == []
    assert stopped.status == job_pb2.JOB_STATUS_STOPPED
    assert stopped.termination.leftovers_killed


async def test_main_process_cannot_leave_its_group(admin: Client) -> None:
    """The main process leads a session, so setpgid(2) fails and the stop signal reaches it."""
    script = """
import os, signal
for leave in (os.setsid, lambda: os.setpgid(0, 0), lambda: os.setpgid(0, os.getppid())):
    try:
        leave()
    except PermissionError:
        pass
assert os.getpid() == os.getpgid(0) == os.getsid(0)
print("here", flush=True)
signal.pause()
"""
    job = await admin.create("python3", "-c", script)
    await admin.wrote(job.id, b"here")
    assert (await admin.stop(job.id, seconds=AN_HOUR)).termination.signal_name == "SIGTERM"


async def test_the_jobs_above_left_nothing(server: Server) -> None:
    """Last test: jobs killed before their exec are reaped, too."""
    if server.process:
        await eventually(lambda: server.job_cgroups() == [])
        await eventually(
            lambda: not any(each.status() == psutil.STATUS_ZOMBIE for each in server.descendants())
        )
