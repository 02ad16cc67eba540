"""Tests of `jobworker stream` against a live server."""

import re
from pathlib import Path

import pytest

from jobworker_command import Jobworker, jobworker
from live import Server, until

__all__ = ["jobworker"]


def test_stream_writes_each_byte_to_its_stream(jobworker: Jobworker) -> None:
    # More than three messages of 256 KiB, and bytes that are not valid UTF-8.
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


def test_stream_with_timestamps(jobworker: Jobworker) -> None:
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
def test_stream_options(jobworker: Jobworker, options: list[str], stdout: bytes, stderr: bytes) -> None:
    job_id = jobworker.create("sh", "-c", r"printf 'one\ntwo\nthree'; echo err >&2")
    assert jobworker("wait", job_id).returncode == 0
    done = jobworker("stream", *options, job_id)
    assert (done.returncode, done.stdout, done.stderr) == (0, stdout, stderr)


def gated(jobworker: Jobworker, gate: Path) -> str:
    """Start a job that has written two lines, and writes a third when the file `gate` exists."""
    script = r'printf "one\ntwo\n"; until [ -e "$0" ]; do sleep 0.1; done; echo three'
    job_id = jobworker.create("sh", "-c", script, str(gate))
    until(lambda: jobworker("stream", "--no-follow", job_id).stdout)
    return job_id


@pytest.fixture
def gate(job_files: Path) -> Path:
    """Return the path of a file that the test creates."""
    return job_files / "gate"


def test_stream_since_the_time_of_a_line(jobworker: Jobworker, gate: Path) -> None:
    job_id = gated(jobworker, gate)
    gate.touch()
    assert jobworker("wait", job_id).returncode == 0
    (line,) = jobworker.printed("stream", "--tail", "1", "--timestamps", job_id).splitlines()
    time, _, text = line.partition(" ")
    assert text == "three"
    assert jobworker.printed("stream", "--since", time, job_id) == "three\n"


def test_stream_of_a_tail_survives_the_api_process(own_server: Server, gate: Path) -> None:
    jobworker = Jobworker(own_server)
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


def test_stream_of_a_running_job_with_no_follow(jobworker: Jobworker) -> None:
    job_id = jobworker.create("sleep", "600")
    done = jobworker("stream", "--no-follow", job_id)
    assert (done.returncode, done.stdout) == (0, b"")
    assert jobworker("stop", "--now", job_id).returncode == 0
