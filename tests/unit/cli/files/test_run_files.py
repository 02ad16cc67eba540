"""Tests of `jobworker run` with --upload and --download against a scripted server."""

import io
import re
import tarfile
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

from jobworker.v1 import job_pb2
from tests.unit.cli.conftest import JOB_ID, Cli, CreateRequest, FakeServer

# Its size is that of a page, and its content is shorter.
SHORTER = "/sys/kernel/uevent_seqnum"


@pytest.fixture
def starting(server: FakeServer) -> FakeServer:
    """Return a server whose job writes the mark that its command was started."""

    async def create(request: CreateRequest) -> job_pb2.Job:
        token = re.search("jobworker-files-[0-9a-f]+", request.env["JOBWORKER_FILES"])
        assert token
        server.log = f"{token.group()} started\noutput\n".encode()
        return server.add()

    server.creating = create
    return server


async def test_the_job_gets_the_archive_and_then_stdin(
    cli: Cli, starting: FakeServer, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("content")
    process = await cli.start("run", "-i", "--upload", f"{tmp_path}/file:dir/name", "cat", "-n", stdin=PIPE)
    out, err = await process.communicate(b"the rest")
    assert (process.returncode, out, err) == (0, b"output\n", b"")
    [request] = starting.created
    assert [request.command, *request.args] == [
        "sh",
        "-c",
        'eval "$JOBWORKER_FILES"',
        "jobworker",
        "cat",
        "-n",
    ]
    assert request.stdin == job_pb2.JOB_STDIN_ONCE
    assert starting.input[65_536:] == b"the rest"
    with tarfile.open(fileobj=io.BytesIO(starting.input)) as archive:
        assert archive.getnames() == ["./name"]


async def test_a_download_only_needs_no_input(cli: Cli, starting: FakeServer, tmp_path: Path) -> None:
    completed = await cli("run", "--download", f"out:{tmp_path}/out", "true")
    assert (completed.code, completed.stdout) == (125, b"output\n")
    assert completed.stderr == "error: --download out: the job ended before it was packed\n"
    assert starting.attached == []


async def test_an_upload_that_fails_stops_the_job(cli: Cli, starting: FakeServer) -> None:
    completed = await cli("run", "--upload", f"{SHORTER}:name", "true")
    assert completed.code == 125
    assert f"error: --upload: {SHORTER} became shorter while it was sent" in completed.stderr
    assert [request.id for request in starting.stopped] == [JOB_ID]


async def test_a_job_that_ends_during_the_upload(cli: Cli, server: FakeServer, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    completed = await cli("run", "--upload", f"{tmp_path}/file", "true")
    assert completed.code == 125
    assert "error: the job ended before its command could run" in completed.stderr
    assert [request.stdin for request in server.created] == [job_pb2.JOB_STDIN_ONCE]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--upload", "missing"], "missing: No such file or directory"),
        (["--download", "."], "'.' has no name for the local copy; use PATH:DEST"),
        (["--upload", "/etc/hostname", "--terminal"], "use neither --terminal nor --detach"),
        (["--download", "out", "--detach"], "use neither --terminal nor --detach"),
    ],
)
async def test_invalid_options(cli: Cli, server: FakeServer, options: list[str], reason: str) -> None:
    completed = await cli("run", *options, "true")
    assert completed.code == 2
    assert reason in completed.stderr
    assert server.created == []
