"""Attack other processes, gain privileges and exhaust the host, as docs/security.md lists it."""

import os
import shutil
import socket
import struct
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import process_attack
import pytest

from jobworker.v1 import job_pb2
from live import Server, pids_with
from live_client import Client, client

BIN = Path(sys.executable).parent
pytestmark = pytest.mark.root

ATTACK = Path(process_attack.__file__).read_text()

CAP_DAC_OVERRIDE, CAP_SETUID = 1, 7
FILE_MAX = int(Path("/proc/sys/fs/file-max").read_text())
XATTR_REVISION_2 = 0x0200_0000


@asynccontextmanager
async def running(admin: Client, *argv: str, **fields: object) -> AsyncIterator[job_pb2.Job]:
    """A job that runs until the end of the block."""
    job = await admin.create(*argv, **fields)
    try:
        yield job
    finally:
        await admin.stop(job.id, seconds=0)


async def attack_processes(server: Server, admin: Client) -> str:
    """Attack the processes of the server and of another job; return the attacks that succeeded."""
    assert server.process
    marker = str(uuid.uuid4().int % 10**9)
    async with running(admin, "sleep", marker):
        targets = [server.process.pid, *(each.pid for each in server.descendants()), *pids_with(marker)]
        _, output = await admin.run("python3", "-c", ATTACK, *map(str, {*targets}))
    return output.decode()


async def test_a_job_reaches_no_process_of_the_host(server: Server, admin: Client) -> None:
    assert await attack_processes(server, admin) == "done\n"


async def test_another_user_suffices_without_a_pid_namespace(certs: Path, tmp_path: Path) -> None:
    settings = {"JOBWORKERD_ISOLATION_PID_NAMESPACE": "false"}
    with Server.started(BIN, certs, tmp_path / "state", **settings) as server:
        async with client(server, "admin") as admin:
            assert await attack_processes(server, admin) == "done\n"


async def test_a_job_cannot_use_its_init(admin: Client) -> None:
    _, output = await admin.run("python3", "-c", ATTACK, "1")
    assert output == b"done\n"


async def test_privileged_programs_give_no_privileges(admin: Client, job_files: Path) -> None:
    """A setuid program of root, and one with file capabilities, see capabilities(7)."""
    setuid, capable = (Path(shutil.copy("/bin/cat", job_files / name)) for name in ("setuid", "capable"))
    setuid.chmod(0o4755)
    permitted = 1 << CAP_DAC_OVERRIDE | 1 << CAP_SETUID
    os.setxattr(capable, "security.capability", struct.pack("<5I", XATTR_REVISION_2, permitted, 0, 0, 0))
    for program in (setuid, capable):
        _, output = await admin.run(str(program), "/proc/self/status")
        found = dict(line.split(":\t", 1) for line in output.decode().splitlines())
        assert len({*found["Uid"].split()}) == 1
        assert int(found["Uid"].split()[0]) > 0
        assert int(found["CapEff"], 16) == int(found["CapPrm"], 16) == 0


async def test_shared_memory_and_queues_of_a_job_are_private(admin: Client) -> None:
    make = "ipcmk -M 4096 && ipcmk -S 1 && ipcmk -Q && echo made && sleep 1000"
    async with running(admin, "sh", "-c", make) as job:
        await admin.wrote(job.id, b"made\n")
        _, output = await admin.run("sh", "-c", "cat /proc/sysvipc/*")
    headers = output.splitlines()
    assert len(headers) == 3, "no objects below the headers"


async def test_a_job_without_a_network_reaches_no_abstract_socket(admin: Client) -> None:
    name = f"jobworker-test-{uuid.uuid4()}"
    script = f"import socket; socket.socket(socket.AF_UNIX).connect(chr(0) + {name!r}); print('CONNECTED')"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"\0{name}")
        listener.listen()
        _, shared = await admin.run("python3", "-c", script)
        _, none = await admin.run("python3", "-c", script, network=job_pb2.JOB_NETWORK_NONE)
    assert shared == b"CONNECTED\n"
    assert b"Connection refused" in none


async def test_a_job_has_no_terminal_to_type_into(admin: Client) -> None:
    script = """
import fcntl, os, termios
for path in ("/dev/tty", "/dev/console", "/dev/tty1", "/proc/self/fd/0", "/proc/1/fd/0"):
    try:
        fcntl.ioctl(os.open(path, os.O_RDWR | os.O_NOCTTY), termios.TIOCSTI, b"x")
        print(path)
    except OSError:
        pass
print("done")
"""
    _, output = await admin.run("python3", "-c", script)
    assert output == b"done\n"


async def test_a_job_starts_no_program_of_the_host_through_cgroup_v1(admin: Client) -> None:
    """The kernel starts the `release_agent` of a hierarchy as root of the host, see cgroups(7)."""
    script = """
    exec 2>/dev/null; mkdir /tmp/v1
    attack() { echo /tmp/agent >$1/release_agent && echo WROTE; }
    for mounted in $(awk '/ - cgroup /{print $5}' /proc/self/mountinfo); do attack $mounted; done
    for kind in memory rdma none,name=attack; do
        mount -t cgroup -o $kind none /tmp/v1 && echo MOUNTED $kind && attack /tmp/v1; umount /tmp/v1
        unshare -UrmC mount -t cgroup -o $kind none /tmp/v1 && echo MOUNTED $kind in a user namespace
    done
    echo done"""
    _, output = await admin.run("sh", "-c", script)
    assert output == b"done\n"


async def test_open_files_of_a_job_leave_enough_to_others(admin: Client) -> None:
    if FILE_MAX < 1 << 20:
        pytest.skip("one process can use up the open files of this host; raise fs.file-max")
    script = """
import os, resource, time
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
files = []
try:
    while True:
        files.append(os.open("/dev/null", os.O_RDONLY))
except OSError as error:
    print(error.strerror, flush=True)
time.sleep(1000)
"""
    # The kernel counts 128 MiB for all of them.
    async with running(admin, "python3", "-c", script, max_memory=512) as job:
        await admin.wrote(job.id, b"Too many open files\n")
        other, _ = await admin.run("true")
    assert other.exit_code == 0


async def test_files_in_all_private_directories_are_bounded_together(admin: Client) -> None:
    script = """
    for directory in $HOME /tmp /var/tmp /dev/shm; do head -c 8M /dev/zero >$directory/big; done
    cat $HOME/big /tmp/big /var/tmp/big /dev/shm/big | wc -c"""
    _, output = await admin.run("sh", "-c", script, max_scratch=16, max_memory=128)
    *errors, size = output.decode().splitlines()
    assert any("No space left" in line for line in errors)
    assert int(size) <= 16 << 20
