"""Check a job's own /dev, and which files of /proc and /sys it can reach.

The attacks run as root without capabilities (`run_as = "server"`) too, who owns most of the host's files.
"""

import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from live import Server
from live_client import Client, client

BIN = Path(sys.executable).parent
pytestmark = pytest.mark.root

NODES = ["full", "null", "random", "tty", "urandom", "zero"]
LINKS = ["fd", "ptmx", "stderr", "stdin", "stdout"]
DIRECTORIES = ["pts", "shm"]

KEPT_FROM_JOBS = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/sys/fs/bpf",
    "/sys/fs/pstore",
    "/sys/kernel/debug",
    "/sys/kernel/tracing",
)

READS = """
import json, os
found = {}
for path in %r:
    try:
        found[path] = os.listdir(path) if os.path.isdir(path) else len(open(path, "rb").read(4096))
    except OSError as error:
        found[path] = error.strerror
print(json.dumps(found))
"""

WRITES = """
import os
for directory in ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/sys"):
    for path, _, files in os.walk(directory):
        for name in files:
            try:
                os.close(os.open(f"{path}/{name}", os.O_WRONLY | os.O_NONBLOCK))
                print(f"{path}/{name}")
            except OSError:
                pass
for path in ("/proc/sysrq-trigger", "/proc/mtrr"):
    try:
        os.close(os.open(path, os.O_WRONLY))
        print(path)
    except OSError:
        pass
"""


@pytest_asyncio.fixture(params=["dynamic", "server"])
async def attacker(certs: Path, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    """A client whose jobs run as their own user, or as root without capabilities."""
    environment = {"JOBWORKERD_ISOLATION_RUN_AS": request.param}
    with Server.started(BIN, certs, tmp_path / "state", **environment) as server:
        async with client(server, "admin") as admin:
            yield admin


async def prints(admin: Client, script: str) -> list[str]:
    _, output = await admin.run("sh", "-c", f"exec 2>&1; {script}")
    return output.decode().splitlines()


async def python(admin: Client, script: str) -> str:
    _, output = await admin.run("python3", "-c", script, max_memory=64)
    return output.decode()


def host_devices() -> list[str]:
    paths = (each for each in Path("/dev").rglob("*") if not each.is_symlink())
    return [str(each) for each in paths if each.is_block_device() or each.is_char_device()]


async def test_dev_has_only_what_every_program_needs(attacker: Client) -> None:
    assert await prints(attacker, "ls /dev") == sorted(NODES + LINKS + DIRECTORIES)
    assert await prints(attacker, "find /dev -type b -o -type c | sort") == sorted(
        [f"/dev/{name}" for name in NODES] + ["/dev/pts/ptmx"]
    )


async def test_a_job_opens_no_device_of_the_host(attacker: Client) -> None:
    """Neither by the host's name nor by a node that the job creates."""
    devices = host_devices()
    script = f"""
import os
for path in {devices!r}:
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY))
        print(path)
    except OSError:
        pass
for directory in ("/dev", "/dev/shm", "/tmp", "/home/job"):
    try:
        os.mknod(directory + "/kmsg", 0o600 | 0o020000, os.makedev(1, 11))
        print("created", directory)
    except OSError:
        pass
"""
    opened = (await python(attacker, script)).split()
    assert {*opened} <= {f"/dev/{name}" for name in [*NODES, "ptmx", "pts/ptmx"]}


async def test_the_devices_work(attacker: Client) -> None:
    script = """
    echo x >/dev/null; head -c 4 /dev/zero | od -An -tx1
    head -c 3 /dev/urandom | wc -c; head -c 3 /dev/random | wc -c; cat /etc/passwd >/dev/full
    echo shm >/dev/shm/file && cat /dev/shm/file; echo fd >/dev/fd/1; echo x >/dev/new"""
    found = await prints(attacker, script)
    assert found[0].split() == ["00"] * 4
    assert found[1:3] == ["3", "3"]
    assert "No space left" in found[3]
    assert found[4:6] == ["shm", "fd"]
    assert "cannot create /dev/new" in found[6]


async def test_a_terminal_is_private_to_its_job(attacker: Client) -> None:
    script = """
import os, pty, time
pid, terminal = pty.fork()
if pid == 0:
    os.execvp("sh", ["sh", "-c", "tty; ls /dev/pts; echo x >/dev/tty"])
output = b""
try:
    while data := os.read(terminal, 1000):
        output += data
except OSError:
    pass
print(output.decode().split(), flush=True)
"""
    assert await python(attacker, script) == "['/dev/pts/0', '0', 'ptmx', 'x']\n"


async def test_a_job_reads_nothing_about_the_hardware_and_the_kernel(attacker: Client) -> None:
    found = json.loads(await python(attacker, READS % (KEPT_FROM_JOBS,)))
    allowed: tuple[object, ...] = (0, [], "Permission denied", "No such file or directory")
    assert {path: each for path, each in found.items() if each not in allowed} == {}
    for path in ("/proc/meminfo", "/proc/cpuinfo", "/sys/devices/system/cpu/online"):
        assert path in json.loads(await python(attacker, READS % ((path,),)))


async def test_a_job_changes_no_setting_of_the_kernel(attacker: Client) -> None:
    assert await python(attacker, WRITES) == ""


async def test_a_setting_adds_devices(certs: Path, tmp_path: Path) -> None:
    settings = {"JOBWORKERD_ISOLATION_DEVICES": "/dev/kmsg,/dev/net,/dev/nonexistent"}
    # A guest kernel has no /dev/net.
    devices = [each for each in (Path("/dev/kmsg"), Path("/dev/net")) if each.exists()]
    below = sorted(each.name for device in devices if device.is_dir() for each in device.iterdir())
    with Server.started(BIN, certs, tmp_path / "state", **settings) as server:
        async with client(server, "admin") as admin:
            found = await prints(admin, "ls -d /dev/kmsg /dev/net 2>&-; ls /dev/net 2>&-; ls /dev | wc -l")
    expected = [*map(str, devices), *below]
    assert found == [*expected, str(len(NODES + LINKS + DIRECTORIES) + len(devices))]
