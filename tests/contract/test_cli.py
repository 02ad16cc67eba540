"""The command `jobworker`, as a shell runs it, against a server."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from live import Server, until

BIN = Path(sys.executable).parent
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
ROOM = ("--max-memory", "64", "--max-cpu", "100")
"""The defaults of 1 MiB and a tenth of a core would only make these tests slow, where they are enforced."""


class Shell:
    """Runs command lines for a role, with the server named by the environment."""

    def __init__(self, server: Server, role: str = "admin") -> None:
        self._env = {
            **os.environ,
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "JOBWORKER_SERVER": server.address,
            "JOBWORKER_CERTS": str(server.certs),
            "JOBWORKER_ROLE": role,
        }

    def __call__(self, *words: str) -> "subprocess.CompletedProcess[bytes]":
        """Runs `jobworker` with these words."""
        return self._run([str(BIN / "jobworker"), *words])

    @contextlib.contextmanager
    def started(self, *words: str) -> Iterator["subprocess.Popen[bytes]"]:
        """Runs `jobworker` for as long as the context lasts, and leaves its output to the test."""
        argv = [str(BIN / "jobworker"), *words]
        pipe = subprocess.PIPE
        with subprocess.Popen(argv, stdout=pipe, stderr=pipe, env=self._env) as process:
            try:
                yield process
            finally:
                process.kill()

    def line(self, text: str) -> "subprocess.CompletedProcess[bytes]":
        """Runs a whole line, which a shell takes apart."""
        return self._run(["sh", "-c", text])

    def create(self, *words: str) -> str:
        """Creates a job and returns its id."""
        return self.printed("create", "-q", *ROOM, *words).strip()

    def job(self, ref: str) -> dict[str, Any]:
        """Returns a job as `get -o json` prints it."""
        found: dict[str, Any] = json.loads(self.printed("get", "-o", "json", ref))
        return found

    def printed(self, *words: str) -> str:
        """Returns what a command that succeeds prints."""
        done = self(*words)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()

    def _run(self, argv: list[str]) -> "subprocess.CompletedProcess[bytes]":
        return subprocess.run(argv, capture_output=True, timeout=90, check=False, env=self._env)


@pytest.fixture
def jobworker(server: Server) -> Shell:
    return Shell(server)


def test_create_get_and_list(jobworker: Shell) -> None:
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


def test_a_viewer_reads_and_does_not_create(jobworker: Shell, server: Server) -> None:
    viewer = Shell(server, "viewer")
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
def test_run_exits_as_the_job_did(jobworker: Shell, script: str, code: int) -> None:
    done = jobworker("run", *ROOM, "sh", "-c", f"echo out; echo err >&2; {script}")
    assert done.returncode == code, done.stderr.decode()
    assert done.stdout == b"out\n"
    assert b"err\n" in done.stderr
    assert (b"ended by SIGKILL" in done.stderr) == script.startswith("kill")


def test_run_of_a_command_that_is_not_there(jobworker: Shell) -> None:
    done = jobworker("run", "no-such-command")
    assert (done.returncode, done.stdout) == (127, b"")
    assert b"no-such-command" in done.stderr


def test_run_of_a_file_that_cannot_be_executed(jobworker: Shell) -> None:
    assert jobworker("run", "/etc/passwd").returncode == 126


def test_run_with_a_timeout(jobworker: Shell) -> None:
    script = "trap 'exit 0' TERM; while :; do sleep 0.1; done"
    done = jobworker("run", *ROOM, "--timeout", "500ms", "sh", "-c", script)
    assert done.returncode == 124
    assert b"reached the timeout of 0.5 s" in done.stderr


@pytest.mark.parametrize(("flags", "code"), [([], 124), (["--preserve-status"], 128 + signal.SIGTERM)])
def test_run_ended_by_its_timeout_exits_as_timeout_does(
    jobworker: Shell, flags: list[str], code: int
) -> None:
    done = jobworker("run", *ROOM, "--timeout", "500ms", *flags, "sleep", "60")
    assert done.returncode == code


def test_stream_writes_every_byte_where_the_job_wrote_it(jobworker: Shell) -> None:
    # More than three messages of 256 KiB, and bytes that no text has.
    job_id = jobworker.create(
        "sh", "-c", "i=0; while [ $i -lt 4 ]; do head -c 200000 /dev/zero; i=$((i+1)); done; "
        r"printf '\000\377\n\r\033[0m'; printf '\376err' >&2; exit 4"
    )  # fmt: skip
    done = jobworker("stream", job_id)
    assert done.returncode == 4
    assert done.stdout == bytes(800_000) + b"\x00\xff\n\r\x1b[0m"
    assert done.stderr == b"\xfeerr"
    rest = jobworker("stream", "--offset", "800002", job_id)
    assert (rest.stdout, rest.stderr) == (b"\n\r\x1b[0m", b"\xfeerr")


def test_stream_with_the_time_before_each_line(jobworker: Shell) -> None:
    job_id = jobworker.create("sh", "-c", r"printf 'one\n\ntwo'; printf 'err\n' >&2")
    time = rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z "
    done = jobworker("stream", "--timestamps", job_id)
    assert re.fullmatch(time + rb"one\n" + time + rb"\n" + time + rb"two", done.stdout)
    assert re.fullmatch(time + rb"err\n", done.stderr)


@pytest.mark.parametrize(
    ("options", "stdout", "stderr"),
    [
        (["--stdout-only", "--tail", "2"], b"two\nthree", b""),
        (["--stdout-only", "--tail", "9"], b"one\ntwo\nthree", b""),
        (["--stderr-only"], b"", b"err\n"),
        (["--stderr-only", "--tail", "1", "--no-follow"], b"", b"err\n"),
        (["--tail", "0"], b"", b""),
        (["--since", "1h", "--stdout-only"], b"one\ntwo\nthree", b""),
        (["--since", "2999-01-01T00:00:00Z"], b"", b""),
    ],
)
def test_stream_of_a_part(jobworker: Shell, options: list[str], stdout: bytes, stderr: bytes) -> None:
    job_id = jobworker.create("sh", "-c", r"printf 'one\ntwo\nthree'; echo err >&2")
    assert jobworker("wait", job_id).returncode == 0
    done = jobworker("stream", *options, job_id)
    assert (done.returncode, done.stdout, done.stderr) == (0, stdout, stderr)


def gated(jobworker: Shell, gate: Path) -> str:
    """Returns a job that has written two lines, and writes a third once there is a file `gate`."""
    script = r'printf "one\ntwo\n"; until [ -e "$0" ]; do sleep 0.1; done; echo three'
    job_id = jobworker.create("sh", "-c", script, str(gate))
    until(lambda: jobworker("stream", "--no-follow", job_id).stdout)
    return job_id


@pytest.fixture
def gate(job_files: Path) -> Path:
    """A file to be made."""
    return job_files / "gate"


def test_stream_since_the_time_of_a_line(jobworker: Shell, gate: Path) -> None:
    job_id = gated(jobworker, gate)
    gate.touch()
    assert jobworker("wait", job_id).returncode == 0
    (line,) = jobworker.printed("stream", "--tail", "1", "--timestamps", job_id).splitlines()
    time, _, text = line.partition(" ")
    assert text == "three"
    assert jobworker.printed("stream", "--since", time, job_id) == "three\n"


def test_stream_of_a_tail_outlives_the_api_process(own_server: Server, gate: Path) -> None:
    jobworker = Shell(own_server)
    job_id = gated(jobworker, gate)
    with jobworker.started("stream", "--tail", "1", job_id) as reader:
        assert reader.stdout is not None
        assert reader.stderr is not None
        assert reader.stdout.readline() == b"two\n"
        own_server.api_processes()[0].kill()
        assert b"resuming at byte 8" in reader.stderr.readline()
        gate.touch()
        rest, _ = reader.communicate(timeout=60)
        assert (reader.returncode, rest) == (0, b"three\n")


def test_stream_of_a_running_job_without_following(jobworker: Shell) -> None:
    job_id = jobworker.create("sleep", "600")
    done = jobworker("stream", "--no-follow", job_id)
    assert (done.returncode, done.stdout) == (0, b"")
    assert jobworker("stop", "--now", job_id).returncode == 0


def test_stop(jobworker: Shell) -> None:
    first, second = jobworker.create("sleep", "600"), jobworker.create("sleep", "600")
    assert "STOPPED" in jobworker.printed("stop", first)
    job = jobworker.job(first)
    assert job["status"] == "JOB_STATUS_STOPPED"
    assert job["termination"]["signalName"] == "SIGTERM"
    assert jobworker("wait", first).returncode == 128 + signal.SIGTERM

    (stopped,) = json.loads(jobworker.printed("stop", "--now", "-o", "json", second))
    assert stopped["termination"]["signalName"] == "SIGKILL"
    assert "STOPPED" in jobworker.printed("stop", first), "a job that has ended is left as it is"


def test_a_limit_that_is_not_in_force_is_shown_everywhere_and_logged_once(
    jobworker: Shell, server: Server
) -> None:
    """A tmpfs is no disk, so this holds on every host."""
    job_id = jobworker.create("--max-io-bps=1000000", "-w", "/dev/shm", "true")
    (listed,) = (job for job in json.loads(jobworker.printed("list", "-o", "json")) if job["id"] == job_id)
    (limit,) = (each for each in listed["limitsApplied"] if each["limit"] == "max_io_bps")
    assert listed["maxIOBPS"] == "1000000"
    assert not limit["inForce"]
    assert f", not in force: {limit['reason']}\n" in jobworker.printed("get", job_id)
    if server.log:
        warned = [event for event in server.events() if event["event"] == "limits not in force"]
        (line,) = (event for event in warned if event["job_id"] == job_id)
        assert (line["level"], line["process"]) == ("warning", "supervisor")
        assert limit["reason"] in str(line["limits"])


def test_update_top_and_stats_of_a_running_job(jobworker: Shell) -> None:
    job_id = jobworker.create("--max-pids=20", "sleep", "100")
    assert json.loads(jobworker.printed("update", job_id, "--max-pids=10", "-o", "json"))["maxPids"] == 10
    assert jobworker.job(job_id)["maxPids"] == 10
    head, *rows = jobworker.printed("top", "-i", "50ms").splitlines()
    assert head.split() == ["ID", "CPU", "MEMORY", "READ", "WRITTEN", "OPS", "AGE", "COMMAND"]
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
    assert b"is stopped; only a running job can be updated" in refused.stderr


def test_wait_for_several(jobworker: Shell) -> None:
    jobs = [jobworker.create("sh", "-c", f"exit {code}") for code in (0, 5, 6)]
    done = jobworker("wait", *jobs)
    assert done.returncode == 5
    assert {line.split()[0] for line in done.stdout.decode().splitlines()} == set(jobs)


def test_the_beginning_of_an_id(jobworker: Shell) -> None:
    first, second = jobworker.create("true"), jobworker.create("true")
    assert jobworker.job(first[:20])["id"] == first
    both = first[: next(at for at in range(len(first)) if first[at] != second[at])]
    ambiguous = jobworker("get", both)
    assert ambiguous.returncode == 1
    assert ambiguous.stdout == b""
    assert both.encode() in ambiguous.stderr


def test_a_job_that_is_not_there(jobworker: Shell) -> None:
    job_id = str(uuid.uuid4())
    for verb, code in {"get": 1, "stop": 1, "stream": 125, "wait": 125}.items():
        done = jobworker(verb, job_id)
        assert (done.returncode, done.stdout) == (code, b""), verb
        assert job_id.encode() in done.stderr


def test_a_server_that_is_not_there(jobworker: Shell) -> None:
    # Nobody listens on port 1 (tcpmux) of a host that runs tests.
    done = jobworker("--server", "127.0.0.1:1", "--timeout", "2s", "list")
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"127.0.0.1:1" in done.stderr


# As the design has them; only -q is ours, and so is the room, for the sake of the guests.
EXAMPLES = {
    "an option of the command": ("ls -la /tmp", re.compile(rb"total \d+\n.*", re.DOTALL)),
    "bash": (
        'bash -c "for i in {1..10}; do echo \\$i; done"',
        re.compile(b"".join(b"%d\n" % number for number in range(1, 11))),
    ),
    "a path": ("/bin/sh -c \"echo 'POSIX shell'\"", re.compile(b"POSIX shell\n")),
}


@pytest.mark.parametrize(("command", "output"), EXAMPLES.values(), ids=EXAMPLES)
def test_examples(jobworker: Shell, command: str, output: "re.Pattern[bytes]") -> None:
    created = jobworker.line(f"jobworker create -q {' '.join(ROOM)} {command}")
    assert created.returncode == 0, created.stderr.decode()
    done = jobworker("stream", created.stdout.decode().strip())
    assert done.returncode == 0, done.stderr.decode()
    assert output.fullmatch(done.stdout)


def test_the_example_with_limits(jobworker: Shell) -> None:
    created = jobworker.line("jobworker create -q --max-memory=1024 --max-cpu=25 ls -la /tmp")
    assert created.returncode == 0, created.stderr.decode()
    job_id = created.stdout.decode().strip()
    assert jobworker("wait", job_id).returncode == 0
    job = jobworker.job(job_id)
    assert (job["maxMemory"], job["maxCPU"], job["command"]) == (1024, 25, "ls")
    assert job["args"] == ["-la", "/tmp"]
    named = {limit["limit"] for limit in job["limitsApplied"]}
    assert {"max_memory", "max_cpu"} <= named
