"""Tests of uploads and downloads that fail."""

import os
import shutil
import socket
import tarfile
from pathlib import Path

import pytest
import typer

from jobworker_cli.files.pack import UploadFailed
from jobworker_cli.files.transfer import parse_transfer
from jobworker_client import Chunk, source_runs
from tests.unit.cli.files.local_jobs import STDERR, STDOUT, LocalJob, names, without


async def test_a_missing_file_does_not_hide_the_others(job: LocalJob, local: Path) -> None:
    result = await job.run(parse_transfer([], ["one", "two", "three"]), "sh", "-c", "echo 2 >two")
    assert result.problems == [
        "--download one: the job has no such file or directory",
        "--download three: the job has no such file or directory",
    ]
    assert names(local) == ["two"]


@pytest.mark.parametrize("program", ["tar", "dd"])
async def test_a_job_without_the_programs_for_uploads(
    host_job: LocalJob, local: Path, tmp_path: Path, program: str
) -> None:
    (local / "in").touch()
    result = await without(host_job, program, tmp_path / "programs").run(
        parse_transfer(["in"], []), "cat", "in"
    )
    assert result.code == 125
    assert "the job ended before its command could run" in result.problems[0]
    assert result.stderr


@pytest.mark.parametrize("program", ["tar", "tee", "sha256sum"])
async def test_a_job_without_the_programs_for_downloads(
    host_job: LocalJob, local: Path, tmp_path: Path, program: str
) -> None:
    transfer = parse_transfer([], ["out"])
    result = await without(host_job, program, tmp_path / "programs").run(
        transfer, "sh", "-c", "echo 1 >out; exit 3"
    )
    assert (result.code, len(result.problems)) == (3, 1)
    assert names(local) == []


def with_tar(job: LocalJob, script: str, programs: Path) -> LocalJob:
    """Return a job whose tar is a shell script."""
    changed = without(job, "tar", programs)
    tar = programs / "tar"
    tar.write_text(f"#!/bin/sh\n{script}\n")
    tar.chmod(0o755)
    return changed


async def test_a_tar_that_reports_an_error(host_job: LocalJob, local: Path, tmp_path: Path) -> None:
    job = with_tar(host_job, f'{shutil.which("tar")} "$@"; exit 2', tmp_path / "programs")
    result = await job.run(parse_transfer([], ["out"]), "sh", "-c", "echo 1 >out")
    assert result.problems == ["--download out: tar exited with 2 in the job"]
    assert names(local) == []


@pytest.mark.parametrize("size", [0, 1 << 45, 1 << 80])
async def test_a_tar_that_sends_an_invalid_archive(
    host_job: LocalJob, local: Path, tmp_path: Path, size: int
) -> None:
    member = tarfile.TarInfo("name")
    member.type, member.size = tarfile.GNUTYPE_LONGNAME, size
    (tmp_path / "archive").write_bytes(member.tobuf(tarfile.GNU_FORMAT) if size else b"no archive")
    job = with_tar(host_job, f"cat {tmp_path}/archive", tmp_path / "programs")
    result = await job.run(parse_transfer([], ["out", "out:again"]), "sh", "-c", "echo 1 >out")
    assert [problem.partition(" is ")[0] for problem in result.problems] == [
        "--download out: the archive",
        "--download out: the archive",
    ]
    assert names(local) == []


async def test_a_directory_that_the_job_cannot_create(job: LocalJob, local: Path) -> None:
    (local / "in").touch()
    (job.directory / "file").touch()
    result = await job.run(parse_transfer(["in:file/in"], []), "echo", "ran")
    assert (result.code, result.stdout, len(result.problems)) == (125, b"", 1)
    assert b"file" in result.stderr


@pytest.mark.parametrize("name", ["out", "dir"])
async def test_output_among_the_archive_is_noticed(job: LocalJob, local: Path, name: str) -> None:
    job.transmit = lambda data: data.replace(b"content", b"CONTENT")
    script = "echo content >out; mkdir dir; echo content >dir/f"
    result = await job.run(
        parse_transfer([], [name]), "/bin/sh", "-c", f"PATH={os.environ['PATH']}; {script}"
    )
    assert ["the archive is damaged" in problem for problem in result.problems] == [True]
    assert names(local) == []


@pytest.mark.parametrize("end", [-1, -100, -900])
async def test_a_job_that_is_killed_while_it_sends(job: LocalJob, local: Path, end: int) -> None:
    job.transmit = lambda data: data[:end]
    result = await job.run(parse_transfer([], ["out", "more"]), "sh", "-c", "echo 1 >out; echo 2 >more")
    assert result.problems[-1].startswith("--download more: ")
    assert names(local) == ["out"]


async def test_trimmed_output_is_named(job: LocalJob, local: Path) -> None:
    transfer = parse_transfer([], ["out"])
    assert transfer
    output = await job.run(transfer, "sh", "-c", "echo 1 >out")
    assert output.problems == []
    (local / "out").unlink()

    written = b""

    async def write(message: Chunk) -> None:
        nonlocal written
        written += message.payload

    receiver = transfer.receiver(write)
    token = transfer._token.encode()
    begin = token + b" started\n" + token + b" begin 0 file\n"
    await receiver.write(Chunk(payload=begin, offset=0, next_offset=len(begin), source=STDOUT))
    end = b"late" + token + b" packed 0\n" + token + b" end sum\nafter"
    await receiver.write(Chunk(payload=end, offset=5_000, next_offset=5_000 + len(end), source=STDOUT))
    [problem] = await receiver.finish()
    assert written == b"after"
    assert f"has trimmed {5_000 - len(begin)} bytes of the archive; increase log.max_bytes" in problem
    assert names(local) == []


async def test_downloads_after_a_trimmed_one_go_to_their_places(job: LocalJob, local: Path) -> None:
    def without_the_first(output: bytes) -> bytes:
        begin, end = output.index(b" begin 0 "), output.index(b" begin 1 ")
        return output[:begin] + output[end:]

    job.transmit = without_the_first
    result = await job.run(parse_transfer([], ["one", "two"]), "sh", "-c", "echo 1 >one; echo 2 >two")
    assert result.problems == ["--download one: the job ended before it was packed"]
    assert names(local) == ["two"]
    assert (local / "two").read_text() == "2\n"


@pytest.mark.parametrize(
    "marks",
    [
        ["begin 7 file", "begin -1 file", "begin x file", "missing 7", "packed 0", "end sum", "unknown"],
        ["begin", "begin 0", "missing", "end", "packed"],
        ["missing 0", "begin 0 file"],
        ["begin 0 file", "begin 0 file", "missing 0"],
    ],
)
async def test_marks_that_the_script_does_not_write(local: Path, marks: list[str]) -> None:
    transfer = parse_transfer([], ["out"])
    assert transfer

    async def write(_: Chunk) -> None:
        raise AssertionError("marks are not output")

    receiver = transfer.receiver(write)
    payload = "".join(f"{transfer._token} {mark}\n" for mark in ["started", *marks]).encode()
    await receiver.write(Chunk(payload=payload, next_offset=len(payload), source=STDOUT))
    assert len(await receiver.finish()) == 1
    assert names(local) == []


@pytest.mark.usefixtures("local")
async def test_output_of_a_job_without_marks_is_passed_on() -> None:
    transfer = parse_transfer([], ["out"])
    assert transfer
    written: list[tuple[int, bytes]] = []

    async def write(message: Chunk) -> None:
        written.extend(source_runs(message))

    receiver = transfer.receiver(write)
    payload = b"outerr" + transfer._token.encode()
    await receiver.write(
        Chunk(
            payload=payload,
            next_offset=len(payload),
            source=STDOUT,
            source_run_bytes=[3, 3, len(payload) - 6],
        )
    )
    assert written == [(STDOUT, b"out"), (STDERR, b"err")]
    await receiver.finish()
    assert written[2:] == [(STDOUT, transfer._token.encode())]


@pytest.mark.parametrize(
    ("uploads", "downloads", "reason"),
    [
        (["missing"], [], "^missing: No such file or directory$"),
        (["socket"], [], "is a device, a pipe or a socket"),
        (["tree"], [], "is a device, a pipe or a socket"),
        ([], ["x:existing"], "existing exists; remove the directory"),
        ([], ["existing"], "existing exists; remove the directory"),
        ([], ["a:one", "b:one"], "several downloads have the destination one"),
        ([], ["x:socket/y"], "socket"),
        ([""], [], "no PATH"),
        ([], ["."], "no name"),
    ],
)
def test_refused_before_the_job_starts(
    local: Path, uploads: list[str], downloads: list[str], reason: str
) -> None:
    (local / "existing").mkdir()
    (local / "tree").mkdir()
    os.mkfifo(local / "tree/fifo")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("socket")
        with pytest.raises(typer.BadParameter, match=reason):
            parse_transfer(uploads, downloads)


async def test_a_file_that_becomes_shorter_ends_the_upload(local: Path) -> None:
    (local / "in").write_bytes(bytes(5_000))
    transfer = parse_transfer(["in"], [])
    assert transfer
    stdin = transfer.stdin(None)
    assert stdin
    (local / "in").write_bytes(b"")
    with pytest.raises(UploadFailed, match="in became shorter"):
        [data async for data in stdin]
