"""Tests of uploads and downloads with the script of the job, which runs here without a server."""

import asyncio
import itertools
import os
import shutil
import socket
import stat
import subprocess
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobworker.v1 import job_output_pb2, job_service_pb2
from jobworker_cli.files.pack import UploadFailed
from jobworker_cli.files.progress import Progress
from jobworker_cli.files.script import VARIABLE
from jobworker_cli.files.transfer import Transfer, parse_transfer
from jobworker_client import Chunk, source_runs

STDOUT = job_output_pb2.OUTPUT_SOURCE_STDOUT
STDERR = job_output_pb2.OUTPUT_SOURCE_STDERR

PROGRAMS = (
    "sh",
    "tar",
    "dd",
    "tee",
    "sha256sum",
    "mkdir",
    "cat",
    "dirname",
    "basename",
    "chmod",
    "wc",
    "sleep",
)


@dataclass
class Result:
    """The exit code, the output and the problems of a job."""

    code: int
    stdout: bytes
    stderr: bytes
    problems: list[str]


@dataclass
class LocalJob:
    """Runs jobs as processes in a directory, with the programs of `path`.

    `transmit` returns the stdout that the client receives.
    """

    directory: Path
    path: str = os.environ["PATH"]
    transmit: Callable[[bytes], bytes] = bytes

    async def run(self, transfer: Transfer | None, *command: str, stdin: bytes | None = None) -> Result:
        """Run a command with its files."""
        assert transfer
        request = job_service_pb2.CreateJobRequest(command=command[0], args=command[1:])
        transfer.wrap(request, reads_stdin=stdin is not None)
        sent = b"".join([data async for data in transfer.stdin(_pieces(stdin)) or _pieces(None)])
        done = await asyncio.to_thread(
            subprocess.run,
            [request.command, *request.args],
            input=sent,
            capture_output=True,
            cwd=self.directory,
            env={"PATH": self.path, **request.env},
            timeout=60,
        )
        written = {STDOUT: b"", STDERR: b""}

        async def write(message: Chunk) -> None:
            for source, data in source_runs(message):
                written[source] += data

        receiver = transfer.receiver(write)
        for message in _messages(self.transmit(done.stdout)):
            await receiver.write(message)
        problems = await receiver.finish()
        return Result(done.returncode, written[STDOUT], done.stderr, problems)


async def _pieces(data: bytes | None) -> AsyncIterator[bytes]:
    if data:
        yield data


def _messages(data: bytes) -> list[Chunk]:
    """Split stdout into messages of 1,000 bytes."""
    cuts = [*range(0, len(data), 1_000), len(data)]
    return [
        Chunk(payload=data[begin:end], offset=begin, next_offset=end, source=STDOUT)
        for begin, end in itertools.pairwise(cuts)
    ]


@pytest.fixture
def local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the current directory of the command."""
    path = tmp_path / "local"
    path.mkdir()
    monkeypatch.chdir(path)
    return path


@pytest.fixture(params=["host", "busybox"])
def job(request: pytest.FixtureRequest, tmp_path: Path) -> LocalJob:
    """Return jobs with the programs of this host, or with those of BusyBox."""
    directory = tmp_path / "job"
    directory.mkdir()
    if request.param == "host":
        return LocalJob(directory)
    busybox = shutil.which("busybox")
    if busybox is None:
        pytest.skip("busybox is not installed")
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in PROGRAMS:
        (programs / name).symlink_to(busybox)
    return LocalJob(directory, str(programs))


@pytest.fixture
def host_job(tmp_path: Path) -> LocalJob:
    """Return jobs with the programs of this host."""
    directory = tmp_path / "host-job"
    directory.mkdir()
    return LocalJob(directory)


def without(job: LocalJob, missing: str, tmp_path: Path) -> LocalJob:
    """Return jobs without a program."""
    programs = tmp_path / "some"
    programs.mkdir()
    for name in PROGRAMS:
        found = shutil.which(name, path=job.path)
        if found and name != missing:
            (programs / name).symlink_to(found)
    return LocalJob(job.directory, str(programs))


def described(root: Path) -> dict[str, tuple[int, int, bytes | str]]:
    """Return the mode, the time and the content or target of everything below a directory."""
    found: dict[str, tuple[int, int, bytes | str]] = {}
    for path in sorted(root.rglob("*")):
        status = path.lstat()
        if path.is_symlink():
            found[str(path.relative_to(root))] = (0, 0, str(path.readlink()))
        else:
            content = b"" if path.is_dir() else path.read_bytes()
            time = 0 if path.is_dir() else int(status.st_mtime)
            found[str(path.relative_to(root))] = (stat.S_IMODE(status.st_mode), time, content)
    return found


def names(directory: Path) -> list[str]:
    """Return the names in a directory."""
    return sorted(path.name for path in directory.iterdir())


def some_files(root: Path) -> None:
    """Create files of many kinds."""
    (root / "deep/er").mkdir(parents=True)
    (root / "empty").mkdir()
    (root / "deep/er/file").write_bytes(bytes(range(256)) * 600)
    (root / "deep/nothing").touch()
    (root / "run").write_text("#!/bin/sh\n")
    (root / "run").chmod(0o755)
    (root / "secret").write_text("1")
    (root / "secret").chmod(0o600)
    os.utime(root / "secret", (1_000_000_000, 1_000_000_000))
    (root / "link").symlink_to("deep/er/../er")
    (root / "loop").symlink_to("loop")
    for name in ("-rf", "a b", "new\nline", "ü", "*", "'", '"', "\\", "x" * 200):
        (root / name).write_text(name)
    (root / os.fsdecode(b"not-utf-8-\xff")).write_text("")
    with (root / "sparse").open("wb") as file:
        file.truncate(1_000_000)


async def test_a_tree_returns_as_it_was(job: LocalJob, local: Path) -> None:
    some_files(local / "tree")
    (local / "tree/link").unlink()
    (local / "tree/link").symlink_to("deep/er")
    before = described(local / "tree")
    transfer = parse_transfer(["tree", "tree:other/dir/"], ["tree:back", "other/dir/tree:again/here"])
    assert await job.run(transfer, "true") == Result(0, b"", b"", [])
    assert described(job.directory / "tree") == described(job.directory / "other/dir/tree") == before
    assert described(local / "back") == described(local / "again/here") == before


NAMES = st.text(
    st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=40
).filter(lambda name: name not in {".", ".."})
FILES = st.dictionaries(
    st.lists(NAMES, min_size=1, max_size=4).map(tuple),
    st.tuples(st.binary(max_size=2_000), st.sampled_from([0o400, 0o600, 0o644, 0o755])),
    max_size=8,
)


@given(files=FILES)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_any_tree_returns_as_it_was(
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    files: dict[tuple[str, ...], tuple[bytes, int]],
) -> None:
    root = tmp_path_factory.mktemp("any")
    (root / "job").mkdir()
    monkeypatch.chdir(root)
    (root / "tree").mkdir()
    for parts, (content, mode) in files.items():
        path = root.joinpath("tree", *parts)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            path.chmod(mode)
        except OSError:  # a name is too long, or a file is in place of a directory
            continue
    before = described(root / "tree")
    result = await LocalJob(root / "job").run(parse_transfer(["tree"], ["tree:back"]), "true")
    assert result == Result(0, b"", b"", [])
    assert described(root / "back") == before


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, 63_488, 63_489, 65_536, 3_000_001])
async def test_one_file_of_any_size(job: LocalJob, local: Path, size: int) -> None:
    content = os.urandom(size)
    (local / "in").write_bytes(content)
    result = await job.run(parse_transfer(["in:x/-in"], ["x/-in:out"]), "cat", "x/-in")
    assert result == Result(0, content, b"", [])
    assert (local / "out").read_bytes() == content


async def test_the_command_reads_the_rest_of_stdin(job: LocalJob, local: Path) -> None:
    (local / "one").write_text("1")
    transfer = parse_transfer(["one", "one:two"], [])
    assert (await job.run(transfer, "cat", "one", "two", "-", stdin=b"rest")).stdout == b"11rest"
    transfer = parse_transfer(["one"], [])
    assert (await job.run(transfer, "cat", "one", "-")).stdout == b"1"
    transfer = parse_transfer([], ["out"])
    assert (await job.run(transfer, "sh", "-c", "cat; cat >out", stdin=b"rest")).stdout == b"rest"


async def test_the_content_of_the_current_directory(job: LocalJob, local: Path) -> None:
    some_files(local)
    job.directory.chmod(0o700)
    assert (await job.run(parse_transfer(["."], []), "true")).problems == []
    assert described(job.directory) == described(local)
    assert stat.S_IMODE(job.directory.stat().st_mode) == 0o700


@pytest.mark.parametrize("command", [("sh", "-c", "echo out >out; echo text; echo err >&2; exit 3")])
async def test_downloads_follow_a_failed_command(
    job: LocalJob, local: Path, command: tuple[str, ...]
) -> None:
    result = await job.run(parse_transfer([], ["out"]), *command)
    assert result == Result(3, b"text\n", b"err\n", [])
    assert (local / "out").read_text() == "out\n"


@pytest.mark.parametrize(
    ("command", "code"),
    [(("no-such-program",), 127), (("/",), 126), (("exit", "3"), 127), (("download", "/"), 127)],
)
@pytest.mark.parametrize("downloads", [[], ["."]])
async def test_only_programs_are_commands(
    job: LocalJob, local: Path, command: tuple[str, ...], code: int, downloads: list[str]
) -> None:
    (local / "in").touch()
    result = await job.run(parse_transfer(["in"], [f"{each}:out" for each in downloads]), *command)
    assert (result.code, result.problems) == (code, [])
    assert (local / "out").exists() == bool(downloads)


@pytest.mark.usefixtures("local")
async def test_the_command_does_not_see_the_script(job: LocalJob) -> None:
    result = await job.run(
        parse_transfer([], [".:out"]), "sh", "-c", f'echo "${{{VARIABLE}-none}}" "$@"', "0", "a  b"
    )
    assert result.stdout == b"none a  b\n"


async def test_links_to_the_downloads_are_followed(job: LocalJob, local: Path) -> None:
    script = "mkdir d; echo 1 >d/f; ln -s d latest; ln -s d/f file"
    result = await job.run(
        parse_transfer([], ["latest", "file"]), "/bin/sh", "-c", f"PATH={os.environ['PATH']}; {script}"
    )
    assert result.problems == []
    assert (local / "latest/f").read_text() == (local / "file").read_text() == "1\n"


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
    result = await without(host_job, program, tmp_path).run(parse_transfer(["in"], []), "cat", "in")
    assert result.code == 125
    assert "the job ended before its command could run" in result.problems[0]
    assert result.stderr


@pytest.mark.parametrize("program", ["tar", "tee", "sha256sum"])
async def test_a_job_without_the_programs_for_downloads(
    host_job: LocalJob, local: Path, tmp_path: Path, program: str
) -> None:
    transfer = parse_transfer([], ["out"])
    result = await without(host_job, program, tmp_path).run(transfer, "sh", "-c", "echo 1 >out; exit 3")
    assert (result.code, len(result.problems)) == (3, 1)
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

    async def ignore(_: Chunk) -> None:
        pass

    receiver = transfer.receiver(ignore)
    token = transfer._token.encode()
    begin = token + b" started\n" + token + b" begin file\n"
    await receiver.write(Chunk(payload=begin, offset=0, next_offset=len(begin), source=STDOUT))
    await receiver.write(Chunk(payload=b"late", offset=5_000, next_offset=5_004, source=STDOUT))
    [problem] = await receiver.finish()
    assert f"has trimmed {5_000 - len(begin)} bytes of the archive; increase log.max_bytes" in problem
    assert names(local) == []


@pytest.mark.usefixtures("local")
async def test_output_of_a_job_without_marks_is_passed_on() -> None:
    transfer = parse_transfer([], ["out"])
    assert transfer
    written: list[tuple[job_output_pb2.OutputSource.ValueType, bytes]] = []

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


async def test_a_file_that_grows_is_sent_as_it_was(job: LocalJob, local: Path) -> None:
    (local / "in").write_text("before")
    transfer = parse_transfer(["in"], [])
    (local / "in").write_text("before and after")
    assert (await job.run(transfer, "cat", "in")).stdout == b"before"


def test_progress() -> None:
    progress = Progress("uploading x", 4_096)
    progress.add(1_024)
    assert progress.line(progress._begin + 2) == (
        "uploading x  [#####               ]  25%  1 KiB of 4 KiB  512 B/s"
    )
    unknown = Progress("downloading \x1b")
    unknown.add(1_024)
    assert unknown.line(unknown._begin + 2) == r"downloading \x1b  1 KiB  512 B/s"
