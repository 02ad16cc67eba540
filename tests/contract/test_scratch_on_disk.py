"""Check private directories on disk: a file system with project quotas, on a loop device."""

import ctypes
import os
import subprocess
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import scratch_attack
from applied import part_name
from conftest import BIN
from restarts import LastingClient, kill_supervisor, lasting_client, reload

from jobworker.v1 import job_pb2
from live import GUEST, Server, seen_by_jobs, until

pytestmark = pytest.mark.root

ATTACK = Path(scratch_attack.__file__).read_text()
RECEIVE = """
import os, socket, sys, time
listener = socket.socket(socket.AF_UNIX)
listener.bind(chr(0) + sys.argv[1])
listener.listen()
print("-", flush=True)
_, (file,), _, _ = socket.recv_fds(listener.accept()[0], 1, 1)
while not os.path.exists("/tmp/go"):
    time.sleep(0.05)
try:
    while os.fstat(file).st_size < 64 << 20:
        os.write(file, bytes(1 << 20))
except OSError as error:
    print(error.strerror)
print(os.fstat(file).st_nlink, os.fstat(file).st_size)
"""
SEND = """
import os, socket, sys
sender = socket.socket(socket.AF_UNIX)
sender.connect(chr(0) + sys.argv[1])
file = os.open("/tmp/file", os.O_WRONLY | os.O_CREAT)
socket.send_fds(sender, [b"-"], [file])
"""
DEAD_JOB = "01981c6d-0000-7000-8000-000000000000"
MIB = 1 << 20


def call(*argv: str | Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(argv, check=True, capture_output=True, text=True)


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The root of a file system with project quotas, if this kernel has them."""
    image = tmp_path_factory.mktemp("disk") / "image"
    with image.open("wb") as file:
        file.truncate(128 * MIB)
    call("mkfs.ext4", "-q", "-O", "quota,project", image)
    with seen_by_jobs() as root:
        try:
            call("mount", "-o", "loop,prjquota", image, root)
        except subprocess.CalledProcessError as error:
            if GUEST:
                raise
            pytest.skip(f"this host has no project quotas: {error.stderr}")
        root.chmod(0o755)
        yield root
        call("umount", root)


@pytest.fixture(scope="module")
def trees(disk: Path) -> Path:
    """The directory with the trees of the jobs."""
    directory = disk / "scratch"
    directory.mkdir()
    return directory


@pytest.fixture(scope="module")
def shared(disk: Path) -> Path:
    """A directory of the same file system that all jobs can write to."""
    directory = disk / "shared"
    directory.mkdir()
    directory.chmod(0o777)
    return directory


@pytest.fixture(scope="module")
def below_tmp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory below the host's /tmp that all jobs can write to."""
    directory = tmp_path_factory.mktemp("below")
    directory.chmod(0o777)
    return directory


@pytest.fixture(scope="module")
def server(
    certs: Path, trees: Path, shared: Path, below_tmp: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    settings = {
        "JOBWORKERD_SCRATCH_DIRECTORY": str(trees),
        "JOBWORKERD_ISOLATION_WRITABLE_PATHS": f"{shared},{below_tmp}",
    }
    with Server.started(BIN, certs, tmp_path_factory.mktemp("state"), **settings) as started:
        yield started
    assert names(trees) == set()


@pytest.fixture
async def admin(server: Server) -> AsyncIterator[LastingClient]:
    async with lasting_client(server) as connected:
        yield connected


def names(directory: Path) -> set[str]:
    return {each.name for each in directory.iterdir()}


def has_projects(directory: Path) -> bool:
    """Return whether the file system has bounds or files of a project (quotactl(2))."""
    quotactl_fd, next_project_quota = 443, 0x800009 << 8 | 2
    opened = os.open(directory, os.O_RDONLY)
    found = ctypes.CDLL(None).syscall(
        quotactl_fd, opened, next_project_quota, 1, ctypes.create_string_buffer(72)
    )
    os.close(opened)
    return bool(found == 0)


async def test_the_private_directories_are_bounded_together(admin: LastingClient, trees: Path) -> None:
    script = """
    for directory in $HOME /tmp /var/tmp /dev/shm; do head -c 5M /dev/zero >$directory/big; done
    cat $HOME/big /tmp/big /var/tmp/big /dev/shm/big | wc -c
    ls -A /home; stat -c %U $HOME; echo -; sleep 1000"""
    job = await admin.create("sh", "-c", f"exec 2>&1; {script}", max_scratch=12)
    (part,) = [each for each in job.applied_isolation if part_name(each) == "scratch"]
    assert (part.in_force, part.value, part.reason) == (True, "12 MiB on disk", "")
    await admin.wrote(job.id, b"-\n")
    other, output = await admin.run("sh", "-c", "head -c 5M /dev/zero >big; ls", max_scratch=12)
    await admin.stop(job.id, seconds=0)
    assert (other.exit_code, output) == (0, b"big\n"), "another job has its own bound"
    used = (await admin.get(job.id)).usage.scratch_bytes
    assert 11 * MIB < used <= 12 * MIB
    *errors, size, home, user, _ = (await admin.stream(job.id)).bytes().decode().splitlines()
    assert len(errors) == 2
    assert all("Disk quota exceeded" in each for each in errors)
    assert 11 * MIB < int(size) <= 12 * MIB
    assert (home, user) == ("job", "job")
    until(lambda: not names(trees))


async def test_the_number_of_files_is_bounded(admin: LastingClient) -> None:
    script = "i=0; while [ $i -lt 100 ] && : >/tmp/$i; do i=$((i + 1)); done; ls /tmp | wc -l"
    _, output = await admin.run("bash", "-c", f"exec 2>&1; {script}", max_scratch=1)
    error, count = output.decode().splitlines()
    assert "Disk quota exceeded" in error
    assert 50 < int(count) <= 64


async def test_a_job_cannot_leave_its_quota(admin: LastingClient, shared: Path) -> None:
    _, output = await admin.run(
        "python3", "-u", "-c", ATTACK, "/tmp", str(shared), max_scratch=4, max_memory=64, max_cpu=100
    )
    *attempts, error, written = output.decode().splitlines()
    assert attempts == [
        "set the project EPERM",
        "stop the inheritance EPERM",
        "set the attributes ENOSYS",
        "encrypt a directory EPERM",
        "raise the bound EPERM",
        "enter a user namespace EPERM",
        "move a file EXDEV",
        "link a file EXDEV",
    ]
    assert error == "EDQUOT"
    assert int(written) <= 4 * MIB


async def test_a_job_does_not_see_the_trees(admin: LastingClient, trees: Path) -> None:
    other = await admin.create("sh", "-c", "echo secret >/tmp/file; echo -; sleep 1000")
    await admin.wrote(other.id, b"-\n")
    _, output = await admin.run("sh", "-c", f"exec 2>&1; ls -A {trees}; cat '{trees}/{other.id}/-tmp/file'")
    await admin.stop(other.id, seconds=0)
    assert output.count(b"Permission denied") == 2
    assert b"secret" not in output


async def test_the_next_supervisor_keeps_the_tree_of_a_running_job(
    server: Server, admin: LastingClient, trees: Path
) -> None:
    script = """
    echo kept >/tmp/file; echo -
    until [ -e /tmp/go ]; do sleep 0.1; done
    cat /tmp/file; head -c 9M /dev/zero >/tmp/big"""
    job = await admin.create("sh", "-c", f"exec 2>&1; {script}", max_scratch=8, request_id="kept")
    await admin.wrote(job.id, b"-\n")
    for restart in (kill_supervisor, reload):
        (trees / DEAD_JOB / "a/b").mkdir(parents=True)
        await restart(server)
        assert (await admin.get(job.id)).status == job_pb2.JOB_STATUS_RUNNING
        until(lambda: names(trees) == {job.id})
    (trees / job.id / "-tmp/go").touch()
    await admin.ended(job.id)
    kept, error = (await admin.stream(job.id)).bytes().decode().splitlines()[1:]
    assert kept == "kept"
    assert "Disk quota exceeded" in error
    until(lambda: not names(trees))


async def test_a_hostile_tree_is_removed(admin: LastingClient, trees: Path, shared: Path) -> None:
    (shared / "kept").touch()
    script = f"""
    cd /tmp; chattr +i . ; ln -s {shared} link; mkfifo fifo; mkdir -m 0 closed
    for i in $(seq 50); do mkdir d && cd d; done; seq 500 | xargs touch; pwd"""
    _, output = await admin.run("sh", "-c", script, max_scratch=64, max_cpu=100)
    assert output.endswith(b"/d\n")
    until(lambda: not names(trees))
    until(lambda: not has_projects(trees))
    assert (shared / "kept").exists()


async def test_writable_paths_below_private_directories_stay(admin: LastingClient, below_tmp: Path) -> None:
    await admin.run("sh", "-c", f"echo x >{below_tmp}/file; echo y >/tmp/file")
    assert names(below_tmp) == {"file"}


async def test_the_io_limit_applies_to_the_disk(admin: LastingClient, disk: Path) -> None:
    device = disk.stat().st_dev  # noqa: ASYNC240
    job = await admin.create("true", max_io_bps=5 * MIB)
    (limit,) = [each for each in job.applied_limits if each.limit == job_pb2.LIMIT_MAX_IO_BPS]
    if limit.file:  # the host has the io controller
        assert f"{os.major(device)}:{os.minor(device)} rbps={5 * MIB} wbps={5 * MIB}" in limit.value


async def test_a_file_that_another_job_has_open_stays_bounded(admin: LastingClient, trees: Path) -> None:
    name = f"jobworker-test-{uuid.uuid4()}"
    other = await admin.create("python3", "-c", RECEIVE, name, max_scratch=2, max_memory=128)
    await admin.wrote(other.id, b"-\n")
    await admin.run("python3", "-c", SEND, name, max_scratch=4)
    until(lambda: names(trees) == {other.id})
    (trees / other.id / "-tmp/go").touch()
    await admin.ended(other.id)
    _, error, result = (await admin.stream(other.id)).bytes().decode().splitlines()
    links, size = map(int, result.split())
    assert (error, links) == ("Disk quota exceeded", 0)
    assert size <= 4 * MIB, "the project of the first job has its bound until its last file is closed"
