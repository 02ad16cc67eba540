"""A server of an ordinary user, in a cgroup that is delegated to this user: isolation, and attacks of jobs.

The jobs run as the server's user, so the user alone does not keep them from the server.
"""

import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psutil
import pytest
from applied import part_name

from jobworker.v1 import job_pb2
from live import Server, seen_by_jobs, until
from live_client import Client, client

BIN = Path(sys.executable).parent
UID = 1_899_000_000
pytestmark = pytest.mark.root

PARTS = {
    "user",
    "mount_namespace",
    "uts_namespace",
    "ipc_namespace",
    "pid_namespace",
    "no_new_privileges",
    "seccomp",
    "session_keyring",
    "scratch",
}

# Only the tests need the capability: the interpreter can be in a home that this user cannot read.
CAPABILITY = "+dac_read_search"
AS_USER = (
    f"setpriv --reuid={UID} --regid={UID} --clear-groups --inh-caps={CAPABILITY} --ambient-caps={CAPABILITY}"
)


@pytest.fixture(scope="module")
def cgroup() -> Iterator[Path]:
    """A cgroup that is delegated to the user (cgroups(7), "Delegation")."""
    line = next(
        each for each in Path("/proc/self/mountinfo").read_text().splitlines() if " - cgroup2 " in each
    )
    directory = Path(line.split()[4]) / f"jobworker-test-user-{os.getpid()}"
    directory.mkdir()
    for path in (directory, *(directory / name for name in ("cgroup.procs", "cgroup.subtree_control"))):
        os.chown(path, UID, UID)
    yield directory
    # Killed processes of a server can end later than the server.
    until(lambda: "populated 0" in (directory / "cgroup.events").read_text())
    for path in (*filter(Path.is_dir, directory.iterdir()), directory):
        path.rmdir()


@pytest.fixture(scope="module")
def runtime_directory() -> Iterator[Path]:
    """The runtime directory of the user, as systemd creates it."""
    directory = Path(f"/run/user/{UID}")
    directory.mkdir(parents=True)
    yield directory
    directory.rmdir()


@pytest.fixture(scope="module")
def server(certs: Path, cgroup: Path, runtime_directory: Path) -> Iterator[Server]:
    # The root of a guest cannot hold logs, unlike its /tmp.
    with seen_by_jobs() as home, tempfile.TemporaryDirectory() as directory:
        own_certs = shutil.copytree(certs, home / "certs")
        state = Path(directory)
        for path in (home, own_certs, *own_certs.iterdir(), state):
            os.chown(path, UID, UID)
        enter = f'echo $$ >{cgroup}/cgroup.procs && exec {AS_USER} "$@"'
        run_by = ["sh", "-c", enter, "sh"]
        env = {"HOME": str(home), "XDG_RUNTIME_DIR": str(runtime_directory)}
        with Server.started(BIN, own_certs, state, run_by=run_by, **env) as started:
            started.cgroup_base = cgroup
            yield started


@pytest.fixture
async def user(server: Server) -> AsyncIterator[Client]:
    async with client(server, "admin") as connected:
        yield connected


async def prints(user: Client, script: str, **fields: object) -> str:
    """Return the output of a script, stderr included."""
    _, output = await user.run("sh", "-c", f"exec 2>&1; {script}", **fields)
    return output.decode()


async def test_all_parts_of_the_isolation_are_in_force(user: Client) -> None:
    job = await user.create("true", network=job_pb2.JOB_NETWORK_NONE)
    assert {part_name(part) for part in job.applied_isolation if part.in_force} == {*PARTS, "network"}


async def test_a_job_chooses_the_size_of_its_scratch(user: Client) -> None:
    assert (await prints(user, "df -m --output=size /tmp | tail -1", max_scratch=77)).split() == ["77"]


async def test_a_job_is_the_servers_user_without_privileges(user: Client) -> None:
    found = await prints(user, "id -u; id -G; pwd; id -un; cat /proc/self/status")
    uid, groups, directory, name, *status = found.splitlines()
    assert (uid, groups, directory, name) == (str(UID), str(UID), "/home/job", str(UID))
    values = dict(line.split(":\t", 1) for line in status)
    for capabilities in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(values[capabilities], 16) == 0
    assert (values["NoNewPrivs"], values["Seccomp"]) == ("1", "2")


async def test_a_job_writes_only_to_its_private_directories(user: Client, server: Server) -> None:
    assert server.state
    targets = ["/", "/etc", "/usr", "/opt", "/dev", "/sys", "/proc/sys/kernel", str(server.state)]
    script = "".join(f"(echo x >{target}/attack) && echo WROTE {target};" for target in targets)
    script += "for each in ~ /tmp /var/tmp /dev/shm; do echo x >$each/own && echo $each; done"
    lines = (await prints(user, script)).splitlines()
    assert "WROTE" not in "".join(lines)
    assert lines[-4:] == ["/home/job", "/tmp", "/var/tmp", "/dev/shm"]


async def test_a_job_reads_no_key_and_no_output_of_another_job(user: Client, server: Server) -> None:
    assert server.state
    other, _ = await user.run("echo", "another job's secret")
    files = [server.certs / "ca-key.pem", server.state / "state/jobs" / other.id / "output.log"]
    assert all(file.exists() for file in files)
    assert "KEY" not in (output := await prints(user, "; ".join(f"cat {file}" for file in files)))
    assert "secret" not in output


async def test_a_job_does_not_reach_services_of_its_user(user: Client, runtime_directory: Path) -> None:
    """The sockets of the service manager and of D-Bus are in this directory."""
    assert runtime_directory.name not in await prints(user, f"ls -A {runtime_directory.parent}")


async def test_a_job_does_not_reach_the_server(user: Client, server: Server) -> None:
    assert server.process
    assert "jobworkerd" not in await prints(user, "ps -e -o args")
    pids = [server.process.pid, *(each.pid for each in server.descendants())]
    await prints(user, "; ".join(f"kill -9 {pid}" for pid in pids) + "; kill -9 -1")
    assert psutil.pid_exists(server.process.pid)
    assert len(server.api_processes()) == 1


async def test_a_job_does_not_control_its_init_in_the_servers_cgroup(user: Client) -> None:
    """Both have the same user, and code in the init would run without the limits of the job."""
    assert "server" in await prints(user, "cat /proc/1/cgroup")
    output = await prints(user, "head -c1 /proc/1/mem; cat /proc/1/environ; kill -9 1; sleep 0.2; echo alive")
    assert output.count("Permission denied") == 2
    assert output.endswith("alive\n")


async def test_a_job_does_not_change_its_cgroup(user: Client) -> None:
    script = """
    own=$(sed -n 's/^0:://p' /proc/self/cgroup)
    for base in /sys/fs/cgroup /sys/fs/cgroup/unified; do
      for file in $base$own/cgroup.procs $base$own/../../server/cgroup.procs $base$own/memory.max; do
        (echo 0 >$file) && echo WROTE
      done
      mkdir $base$own/below && echo WROTE
    done"""
    output = await prints(user, script)
    assert "WROTE" not in output
    assert "Read-only file system" in output


async def test_a_job_gains_no_namespace_and_no_mount(user: Client) -> None:
    for command in ("unshare -Ur true", "unshare -m true", "mount -t tmpfs x /tmp"):
        assert "done" not in await prints(user, f"{command} && echo done")


async def test_a_job_without_a_network(user: Client) -> None:
    script = "tail -n +3 /proc/net/dev | sed 's/:.*//'"
    assert (await prints(user, script, network=job_pb2.JOB_NETWORK_NONE)).split() == ["lo"]


async def test_a_job_runs_in_its_own_cgroup(user: Client, server: Server) -> None:
    job, output = await user.run("cat", "/proc/self/cgroup")
    assert output.decode().splitlines()[-1].endswith(f"/jobs/{job.id}")
    assert server.job_cgroups() == []


async def test_a_job_has_a_terminal_of_its_own(user: Client) -> None:
    terminal = job_pb2.JobTerminal(columns=101, rows=33, term="vt100")
    output = await prints(user, "tty; stty size; echo $TERM >/dev/tty", terminal=terminal)
    assert output.split() == ["/dev/pts/0", "33", "101", "vt100"]
