"""Tests of the command `jobworker` against a live server."""

import json
import re
import signal
import uuid

import pytest

from jobworker_command import LIMITS, Jobworker, jobworker
from live import Server

__all__ = ["jobworker"]

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def test_create_get_and_list(jobworker: Jobworker) -> None:
    label = f"test={uuid.uuid4()}"
    job_id = jobworker.create("-l", label, "sh", "-c", "exit 3")
    assert UUID.fullmatch(job_id)
    assert jobworker("wait", job_id).returncode == 3
    job = jobworker.job(job_id)
    assert (job["id"], job["command"], job["args"]) == (job_id, "sh", ["-c", "exit 3"])
    assert (job["status"], job["exitCode"], job["maxMemory"]) == ("JOB_STATUS_FAILED", 3, 64)
    details = jobworker.printed("get", job_id)
    assert job_id in details
    assert "exited with code 3" in details

    listed = json.loads(jobworker.printed("list", "-l", label, "-o", "json"))
    assert [each["id"] for each in listed] == [job_id]
    (_head, line) = jobworker.printed("list", "-l", label).splitlines()
    assert re.search(rf"{job_id} +FAILED +3 .*sh -c 'exit 3'", line)


def test_a_single_host_has_no_nodes_and_refuses_the_options_of_a_cluster(
    jobworker: Jobworker, server: Server
) -> None:
    done = jobworker("nodes")
    assert (done.returncode, done.stdout) == (1, b"")
    assert f"error: {server.address} is a single host; only a gateway has nodes" in done.stderr.decode()
    options = ("--queue-name", "batch", "--node-selector", "zone=a", "--retry-on-lost")
    refused = jobworker("create", *options, "true")
    assert (refused.returncode, refused.stdout) == (1, b"")
    for option in ("--queue-name", "--node-selector", "--retry-on-lost"):
        assert f"{option}: set, but this server is a single host" in refused.stderr.decode()


def test_viewer_can_read_but_not_create(jobworker: Jobworker, server: Server) -> None:
    viewer = Jobworker(server, "viewer")
    job_id = jobworker.create("true")
    assert viewer.job(job_id)["id"] == job_id
    refused = viewer("create", "true")
    assert refused.returncode == 1
    assert refused.stdout == b""
    assert b"Admin" in refused.stderr


@pytest.mark.parametrize(
    ("script", "code"),
    [("exit 0", 0), ("exit 3", 3), ("exit 255", 255), ("kill -KILL $$", 128 + signal.SIGKILL)],
)
def test_run_exits_with_the_code_of_the_job(jobworker: Jobworker, script: str, code: int) -> None:
    done = jobworker("run", *LIMITS, "sh", "-c", f"echo out; echo err >&2; {script}")
    assert done.returncode == code, done.stderr.decode()
    assert done.stdout == b"out\n"
    assert b"err\n" in done.stderr
    assert (b"ended by SIGKILL" in done.stderr) == script.startswith("kill")


def test_run_of_an_unknown_command(jobworker: Jobworker) -> None:
    done = jobworker("run", "no-such-command")
    assert (done.returncode, done.stdout) == (127, b"")
    assert b"no-such-command" in done.stderr


def test_run_of_a_file_without_execute_permission(jobworker: Jobworker) -> None:
    assert jobworker("run", "/etc/passwd").returncode == 126


def test_run_with_a_timeout(jobworker: Jobworker) -> None:
    script = "trap 'exit 0' TERM; while :; do sleep 0.1; done"
    done = jobworker("run", *LIMITS, "--timeout", "500ms", "sh", "-c", script)
    assert done.returncode == 124
    assert b"reached the timeout of 0.5 s" in done.stderr


@pytest.mark.parametrize(("flags", "code"), [([], 124), (["--preserve-status"], 128 + signal.SIGTERM)])
def test_run_exits_like_timeout_after_a_timeout(jobworker: Jobworker, flags: list[str], code: int) -> None:
    done = jobworker("run", *LIMITS, "--timeout", "500ms", *flags, "sleep", "60")
    assert done.returncode == code


def test_stop(jobworker: Jobworker) -> None:
    first, second = jobworker.create("sleep", "600"), jobworker.create("sleep", "600")
    assert "STOPPED" in jobworker.printed("stop", first)
    job = jobworker.job(first)
    assert job["status"] == "JOB_STATUS_STOPPED"
    assert job["termination"]["signalName"] == "SIGTERM"
    assert jobworker("wait", first).returncode == 128 + signal.SIGTERM

    (stopped,) = json.loads(jobworker.printed("stop", "--now", "-o", "json", second))
    assert stopped["termination"]["signalName"] == "SIGKILL"
    assert "STOPPED" in jobworker.printed("stop", first), "an ended job does not change"


def test_unenforced_limit_is_shown_everywhere_and_logged_once(jobworker: Jobworker, server: Server) -> None:
    """A tmpfs is not a disk, so its I/O limit is not in force on any host."""
    job_id = jobworker.create("--max-io-bps=1000000", "-w", "/dev/shm", "true")
    (listed,) = (job for job in json.loads(jobworker.printed("list", "-o", "json")) if job["id"] == job_id)
    (limit,) = (each for each in listed["appliedLimits"] if each["limit"] == "LIMIT_MAX_IO_BPS")
    assert listed["maxIOBPS"] == "1000000"
    assert not limit["inForce"]
    assert f", not in force: {limit['reason']}\n" in jobworker.printed("get", job_id)
    if server.log:
        warned = [event for event in server.events() if event["event"] == "limits not in force"]
        (line,) = (event for event in warned if event["job_id"] == job_id)
        assert (line["level"], line["process"]) == ("warning", "supervisor")
        assert limit["reason"] in str(line["limits"])


def test_update_top_and_stats_of_a_running_job(jobworker: Jobworker) -> None:
    job_id = jobworker.create("--max-pids=20", "sleep", "100")
    jobworker.until_running(job_id)
    assert json.loads(jobworker.printed("update", job_id, "--max-pids=10", "-o", "json"))["maxPids"] == 10
    assert jobworker.job(job_id)["maxPids"] == 10
    head, *rows = jobworker.printed("top", "-i", "50ms").splitlines()
    columns = [each for each in head.split() if each != "NODE"]  # only a gateway has it
    assert columns == ["ID", "CPU", "MEMORY", "READ", "WRITTEN", "OPS", "AGE", "COMMAND"]
    assert [row.split()[-2:] for row in rows if row.startswith(job_id)] == [["sleep", "100"]]
    assert "Wall time" in jobworker.printed("stats", job_id, "-i", "50ms")
    with jobworker.started("stats", "-f", "-i", "50ms", job_id) as following:
        assert following.stdout
        assert following.stdout.readline().startswith(b"CPU")
        jobworker.printed("stop", "--now", job_id)
        assert f"{job_id}  STOPPED".encode() in following.stdout.read()
        assert following.wait() == 0
    refused = jobworker("update", job_id, "--max-pids=5")
    assert refused.returncode == 1
    assert b"is stopped; only a running job can be updated or signaled" in refused.stderr


def test_wait_for_several_jobs(jobworker: Jobworker) -> None:
    jobs = [jobworker.create("sh", "-c", f"exit {code}") for code in (0, 5, 6)]
    done = jobworker("wait", *jobs)
    assert done.returncode == 5
    assert {line.split()[0] for line in done.stdout.decode().splitlines()} == set(jobs)


def test_prefix_of_an_id(jobworker: Jobworker) -> None:
    first, second = jobworker.create("true"), jobworker.create("true")
    assert jobworker.job(first[:20])["id"] == first
    both = first[: next(at for at in range(len(first)) if first[at] != second[at])]
    ambiguous = jobworker("get", both)
    assert ambiguous.returncode == 1
    assert ambiguous.stdout == b""
    assert both.encode() in ambiguous.stderr


def test_unknown_job_id(jobworker: Jobworker) -> None:
    job_id = str(uuid.uuid4())
    for subcommand, code in {"get": 1, "stop": 1, "stream": 125, "wait": 125}.items():
        done = jobworker(subcommand, job_id)
        assert (done.returncode, done.stdout) == (code, b""), subcommand
        assert job_id.encode() in done.stderr


def test_unreachable_server(jobworker: Jobworker) -> None:
    # Hosts that run tests do not listen on port 1 (tcpmux).
    done = jobworker("--server", "127.0.0.1:1", "--timeout", "2s", "list")
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"127.0.0.1:1" in done.stderr


# From the design document, with -q and higher limits.
EXAMPLES = {
    "an option of the command": ("ls -la /tmp", re.compile(rb"total \d+\n.*", re.DOTALL)),
    "bash": (
        'bash -c "for i in {1..10}; do echo \\$i; done"',
        re.compile(b"".join(b"%d\n" % number for number in range(1, 11))),
    ),
    "a path": ("/bin/sh -c \"echo 'POSIX shell'\"", re.compile(b"POSIX shell\n")),
}


@pytest.mark.parametrize(("command", "output"), EXAMPLES.values(), ids=EXAMPLES)
def test_examples(jobworker: Jobworker, command: str, output: "re.Pattern[bytes]") -> None:
    created = jobworker.line(f"jobworker create -q {' '.join(LIMITS)} {command}")
    assert created.returncode == 0, created.stderr.decode()
    done = jobworker("stream", created.stdout.decode().strip())
    assert done.returncode == 0, done.stderr.decode()
    assert output.fullmatch(done.stdout)


def test_example_with_limits(jobworker: Jobworker) -> None:
    created = jobworker.line("jobworker create -q --max-memory=1024 --max-cpu=25 ls -la /tmp")
    assert created.returncode == 0, created.stderr.decode()
    job_id = created.stdout.decode().strip()
    assert jobworker("wait", job_id).returncode == 0
    job = jobworker.job(job_id)
    assert (job["maxMemory"], job["maxCPU"], job["command"]) == (1024, 25, "ls")
    assert job["args"] == ["-la", "/tmp"]
    named = {limit["limit"] for limit in job["appliedLimits"]}
    assert {"LIMIT_MAX_MEMORY", "LIMIT_MAX_CPU"} <= named
