"""Tests of uploads and downloads with the script of the job."""

import os
import stat
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobworker_cli.files.script import VARIABLE
from jobworker_cli.files.transfer import parse_transfer
from tests.unit.cli.files.local_jobs import LocalJob, Result, described


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


@pytest.mark.parametrize(("mode", "kept"), [(0o6755, 0o755), (0o666, 0o666), (0o777, 0o777), (0o400, 0o400)])
async def test_modes_in_the_job(job: LocalJob, local: Path, mode: int, kept: int) -> None:
    (local / "in").touch()
    (local / "in").chmod(mode)
    assert (await job.run(parse_transfer(["in"], []), "true")).problems == []
    assert stat.S_IMODE((job.directory / "in").stat().st_mode) == kept


async def test_downloads_follow_a_failed_command(job: LocalJob, local: Path) -> None:
    script = "echo out >out; echo text; echo err >&2; exit 3"
    result = await job.run(parse_transfer([], ["out"]), "sh", "-c", script)
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


async def test_a_file_that_grows_is_sent_as_it_was(job: LocalJob, local: Path) -> None:
    (local / "in").write_text("before")
    transfer = parse_transfer(["in"], [])
    (local / "in").write_text("before and after")
    assert (await job.run(transfer, "cat", "in")).stdout == b"before"
