"""Check the system call filter with a job that tries the system calls of administrators."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import system_call_attack
from applied import part_name

from jobworker.v1 import job_pb2
from live import Server
from live_client import Client, client

BIN = Path(sys.executable).parent
ATTACK = Path(system_call_attack.__file__).read_text()
X86 = os.uname().machine == "x86_64"

UNKNOWN = {"clone3", "a later system call"}
"""Programs fall back to other system calls after ENOSYS."""


def part(job: job_pb2.Job, name: str = "seccomp") -> job_pb2.AppliedIsolation:
    return next(each for each in job.applied_isolation if part_name(each) == name)


async def results(admin: Client, **env: str) -> dict[str, str]:
    _, output = await admin.run("python3", "-c", ATTACK, env=env, max_memory=64)
    return dict(line.split(": ") for line in output.decode().splitlines())


def has_32_bit_programs() -> bool:
    """Return whether this kernel runs 32-bit system calls. User-mode Linux runs 64-bit ones instead."""
    script = "import os; from system_call_attack import *; assert as_32_bit(I386_GETPID) == os.getpid()"
    argv = [sys.executable, "-c", script]
    cwd = Path(__file__).parent
    return X86 and subprocess.run(argv, cwd=cwd, capture_output=True, check=False).returncode == 0


async def test_the_system_calls_of_administrators_are_refused(admin: Client) -> None:
    job, _ = await admin.run("true")
    assert part(job).in_force, part(job).reason
    found = await results(admin)
    expected = {
        name: "ENOSYS" if name in UNKNOWN or name.startswith("x32") else "EPERM"
        for name in system_call_attack.ATTEMPTS
    }
    if not X86:
        del expected["x32 getpid"]
        del found["x32 getpid"]
    assert found == expected


@pytest.mark.root
def test_the_attack_refuses_to_run_outside_a_job() -> None:
    done = subprocess.run([sys.executable, "-c", ATTACK], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "run the script in a job" in done.stderr


async def test_32_bit_programs_are_filtered_too(admin: Client) -> None:
    if not has_32_bit_programs():
        pytest.skip("this kernel runs no 32-bit programs")
    found = await results(admin, WITH_32_BIT="1")
    assert found["32-bit getpid"] == "OK"
    assert found["32-bit unshare"] == "EPERM"
    assert found["32-bit socketcall AF_VSOCK"] == "EPERM"


async def test_no_program_that_a_job_starts_escapes_the_filter(admin: Client) -> None:
    script = "exec 2>&1; grep Seccomp: /proc/self/status; unshare -U id; setsid sh -c 'unshare -rm id'"
    _, output = await admin.run("sh", "-c", script)
    first, *rest = output.decode().splitlines()
    assert first.split() == ["Seccomp:", "2"]
    assert [line.partition(": ")[2] for line in rest] == ["unshare failed: Operation not permitted"] * 2


async def test_common_programs_run(admin: Client) -> None:
    """Threads, subprocesses, sockets, sessions, timers, file locks and memory."""
    script = """
import asyncio, concurrent.futures, fcntl, mmap, os, signal, socket, subprocess, tempfile
assert list(concurrent.futures.ThreadPoolExecutor(4).map(abs, range(9))) == list(range(9))
assert subprocess.run(["sh", "-c", "echo x | sort"], capture_output=True).stdout == b"x\\n"
async def child():
    return await (await asyncio.create_subprocess_exec("true")).wait()
assert asyncio.run(child()) == 0
with tempfile.TemporaryFile() as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    os.posix_fallocate(file.fileno(), 0, 4096)
    mmap.mmap(file.fileno(), 4096)[:1] = b"x"
for family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX, socket.AF_NETLINK):
    socket.socket(family, socket.SOCK_DGRAM).close()
socket.socketpair()
os.memfd_create("x"); os.pidfd_open(os.getpid()); os.eventfd(0)
signal.setitimer(signal.ITIMER_REAL, 100)
os.sched_setaffinity(0, os.sched_getaffinity(0))
print("done")
"""
    _, output = await admin.run("python3", "-c", script, max_memory=128)
    assert output == b"done\n"


async def test_a_setting_allows_more_system_calls(certs: Path, tmp_path: Path) -> None:
    settings = {"JOBWORKERD_ISOLATION_SECCOMP_ALLOW": "add_key,io_uring_setup,clone3"}
    with Server.started(BIN, certs, tmp_path / "state", **settings) as server:
        async with client(server, "admin") as admin:
            job = await admin.create("true")
            found = await results(admin)
    assert part(job).value == "also allowed: add_key, io_uring_setup, clone3"
    assert {name for name, result in found.items() if result == "OK"} >= {"add_key", "io_uring_setup"}
    assert found["clone3"] != "ENOSYS"
    assert found["keyctl"] == "EPERM"


async def test_a_setting_disables_the_filter(certs: Path, tmp_path: Path) -> None:
    with Server.started(BIN, certs, tmp_path / "state", JOBWORKERD_ISOLATION_SECCOMP="false") as server:
        async with client(server, "admin") as admin:
            job, output = await admin.run("grep", "Seccomp:", "/proc/self/status")
            found = await results(admin)
    assert "seccomp" not in {part_name(each) for each in job.applied_isolation}
    assert output.split() == [b"Seccomp:", b"0"]
    assert found["add_key"] == found["personality ADDR_NO_RANDOMIZE"] == "OK"


async def test_with_privileges_the_record_says_that_the_filter_is_missing(
    certs: Path, tmp_path: Path
) -> None:
    settings = {"JOBWORKERD_ISOLATION_NO_NEW_PRIVILEGES": "false"}
    with Server.started(BIN, certs, tmp_path / "state", **settings) as server:
        async with client(server, "admin") as admin:
            job, output = await admin.run("echo", "runs")
    assert output == b"runs\n"
    assert not part(job).in_force
    assert "requires isolation.no_new_privileges" in part(job).reason


def test_an_unknown_system_call_fails_the_start(certs: Path, tmp_path: Path) -> None:
    argv: list[str | Path] = [BIN / "jobworkerd", "serve", "--state-dir", tmp_path / "state"]
    done = subprocess.run(
        [
            *argv,
            "--certs-dir",
            certs,
            "--listen",
            "127.0.0.1:0",
            "--cgroup-base",
            "/sys/fs/cgroup/jobworker-test-never",
        ],
        env={"JOBWORKERD_ISOLATION_SECCOMP_ALLOW": "keyctl,mout"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "isolation.seccomp_allow: unknown system call 'mout'; use names of syscalls(2)" in done.stderr
