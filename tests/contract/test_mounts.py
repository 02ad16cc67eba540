"""Check a job's view of the host's file systems: later mounts and writable paths.

The servers of these tests have their own mount namespace with shared mounts, as systemd sets it up.
"""

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import grpc
import pytest
from applied import part_name
from wrapped import BIN, mount, own_mounts, seen, wrapped

from live import Server
from live_client import Client, client, refused

pytestmark = pytest.mark.root

WRITABLE = "JOBWORKERD_ISOLATION_WRITABLE_PATHS"


@pytest.fixture
def results(job_files: Path) -> Path:
    """A directory that is configured as writable for jobs."""
    return directory(job_files / "results")


def remove(path: Path) -> None:
    path.rmdir()


def lines(file: Path) -> list[str]:
    return file.read_text().splitlines()


def directory(path: Path, mode: int = 0o777) -> Path:
    path.mkdir()
    path.chmod(mode)
    return path


async def test_later_mounts_are_read_only_for_jobs(certs: Path, tmp_path: Path, job_files: Path) -> None:
    late, go = directory(job_files / "late", 0o755), job_files / "go"
    attack = f"echo x >{late}/attack && echo WROTE; ls {late}; echo done"
    with Server.started(wrapped(tmp_path, own_mounts()), certs, tmp_path / "state") as server:
        async with client(server, "admin") as admin:
            running = await admin.create("sh", "-c", f"until [ -e {go} ]; do sleep 0.02; done; {attack}")
            mount(server, "-t", "tmpfs", "-o", "mode=1777", "late", late)
            (seen(server, late) / "on the mount").touch()
            go.touch()
            before = (await admin.stream(running.id)).bytes()
            _, after = await admin.run("sh", "-c", attack)
        left = [each.name for each in seen(server, late).iterdir()]
    assert b"WROTE" not in before + after
    assert b"on the mount" not in before  # a job keeps the mounts from the time of its start
    assert after.endswith(b"on the mount\ndone\n")
    assert left == ["on the mount"]


async def test_results_reach_a_mount_below_a_writable_path(
    certs: Path, tmp_path: Path, results: Path
) -> None:
    """Mounts from before and after the server's start. A read-only mount stays read-only."""
    early, late, kept = (directory(results / name) for name in ("early", "late", "kept"))
    first = own_mounts() + "".join(
        f"os.system('mount -t tmpfs -o mode=1777{option} below {path}')\n"
        for path, option in ((early, ""), (kept, ",ro"))
    )
    script = f"for each in {results} {early} {late} {kept}; do echo x >$each/result; done"
    with Server.started(
        wrapped(tmp_path, first), certs, tmp_path / "state", **{WRITABLE: str(results)}
    ) as server:
        mount(server, "-t", "tmpfs", "-o", "mode=1777", "below", late)
        async with client(server, "admin") as admin:
            _, output = await admin.run("sh", "-c", script)
        found = [(seen(server, each) / "result").exists() for each in (results, early, late, kept)]
    assert found == [True, True, True, False]
    assert output.count(b"Read-only file system") == output.count(b"\n") == 1


@pytest.fixture
def below_private() -> Iterator[list[Path]]:
    """A directory below each directory that is private in jobs, and a symlink to one."""
    with ExitStack() as stack:
        parents = ("/home", "/tmp", "/var/tmp", "/dev/shm")
        made = [
            Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="jobworker-test-", dir=parent)))
            for parent in parents
        ]
        for each in made:
            each.chmod(0o700)
            directory(each / "results")
        link = made[0] / "link"
        link.symlink_to(made[2] / "results")
        yield [*(each / "results" for each in made), link]


async def test_a_writable_path_below_a_private_directory(
    certs: Path, tmp_path: Path, below_private: list[Path]
) -> None:
    paths = ",".join(map(str, below_private))
    script = f"for each in {paths.replace(',', ' ')}; do echo $each >>$each/result; done; ls -A $HOME /tmp"
    with Server.started(BIN, certs, tmp_path / "state", **{WRITABLE: paths}) as server:
        async with client(server, "admin") as admin:
            job, output = await admin.run("sh", "-c", script)
    wrote = {path for each in below_private for path in lines(each / "result")}
    assert wrote == {str(each) for each in below_private}
    assert output.decode().split() == ["/home/job:", "/tmp:", below_private[1].parent.name]
    (part,) = (each for each in job.applied_isolation if part_name(each) == "writable_paths")
    assert (part.in_force, part.reason) == (True, "")
    assert part.value.split(", ") == [str(each) for each in below_private]


async def test_the_servers_state_stays_hidden_below_a_writable_path(certs: Path, tmp_path: Path) -> None:
    results = directory(tmp_path / "results")
    with Server.started(BIN, certs, results / "state", **{WRITABLE: str(results)}) as server:
        async with client(server, "admin") as admin:
            _, output = await admin.run("sh", "-c", f"cd {results}; echo x >here; ls state/state")
    assert lines(results / "here") == ["x"]
    assert b"Permission denied" in output


@pytest.mark.parametrize("place", ["host", "private"])
async def test_a_writable_path_is_removed_and_recreated(
    certs: Path, tmp_path: Path, results: Path, place: str
) -> None:
    """The next job's record reports each change; no result is written to a removed directory."""
    path = results if place == "host" else directory(tmp_path / "results")
    with Server.started(BIN, certs, tmp_path / "state", **{WRITABLE: str(path)}) as server:
        async with client(server, "admin") as admin:
            _, before = await admin.run("sh", "-c", f"echo x >{path}/result; rm {path}/result")
            remove(path)
            gone, _ = await admin.run("sh", "-c", f"echo x >{path}/result")
            directory(path)
            back, _ = await admin.run("sh", "-c", f"echo x >{path}/result")
    parts = [
        part for job in (gone, back) for part in job.applied_isolation if part_name(part) == "writable_paths"
    ]
    assert before == b""
    assert [part.in_force for part in parts] == [False, True]
    assert parts[0].reason.startswith(f"{path}: No such file or directory; create the directory")
    assert (gone.exit_code, back.exit_code) == (2, 0)
    assert lines(path / "result") == ["x"]


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("/nonexistent/results", "/nonexistent/results cannot be used (No such file or directory); create"),
        ("/etc/passwd", "/etc/passwd is not a directory"),
        ("/", "/ is the whole system"),
        ("/home", "/home hides the private home of the jobs"),
        ("{state}/jobs", "{state}/jobs is in {state}, which jobs cannot see"),
    ],
)
def test_an_unusable_writable_path_fails_the_start(
    certs: Path, tmp_path: Path, path: str, problem: str
) -> None:
    state = tmp_path / "state"
    (state / "jobs").mkdir(parents=True)
    argv: list[str | Path] = [BIN / "jobworkerd", "serve", "--state-dir", state, "--certs-dir", certs]
    done = subprocess.run(
        [*argv, "--listen", "127.0.0.1:0", "--cgroup-base", "/sys/fs/cgroup/jobworker-test-never"],
        env={WRITABLE: path.format(state=state)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert f"isolation.writable_paths: {problem.format(state=state)}" in done.stderr


async def test_a_command_hidden_from_the_job_has_its_own_error(admin: Client) -> None:
    async with refused(grpc.StatusCode.INVALID_ARGUMENT) as refusal:
        await admin.create("/home/alice/tool")
    assert "/home, /tmp, /var/tmp and /dev/shm are private to each job" in refusal.message
    assert "isolation.writable_paths" in refusal.message
