"""Check isolation with hostile jobs that attack the host, the server and other jobs.

The jobs are shell scripts that print what they can see or do.
"""

import asyncio
import os
import sys
from pathlib import Path

import psutil
import pytest
from applied import part_name

from jobworker.v1 import job_output_pb2, job_pb2, job_service_pb2
from live import Server, arguments, eventually, pids_with
from live_client import Client, client

BIN = Path(sys.executable).parent
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


def exists(path: str) -> bool:
    return Path(path).exists()


def oom_score(pid: int) -> int:
    return int(Path(f"/proc/{pid}/oom_score_adj").read_text())


async def prints(admin: Client, script: str, **fields: object) -> str:
    """Return the output of a script, stderr included."""
    _, output = await admin.run("sh", "-c", f"exec 2>&1; {script}", **fields)
    return output.decode()


async def test_the_record_reports_the_isolation_in_force(admin: Client) -> None:
    job, _ = await admin.run("true")
    assert {part_name(part) for part in job.applied_isolation if part.in_force} == PARTS
    assert not any(part.reason for part in job.applied_isolation)


async def test_each_job_has_a_user_and_a_home_of_its_own(admin: Client) -> None:
    script = "id -u; id -G; pwd; echo $HOME $USER; stat -c %u:%a .; echo secret >file && cat file; umask"
    one, other = await asyncio.gather(prints(admin, script), prints(admin, script))
    uids = {text.splitlines()[0] for text in (one, other)}
    assert len(uids) == 2
    for text in (one, other):
        uid, *rest = text.splitlines()
        assert int(uid) >= 1_900_000_000
        assert rest == [uid, "/home/job", "/home/job job", f"{uid}:700", "secret", "0022"]


async def test_a_job_has_no_privileges_and_cannot_gain_any(admin: Client) -> None:
    found = dict(line.split(":\t", 1) for line in (await prints(admin, "cat /proc/self/status")).splitlines())
    for capabilities in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(found[capabilities], 16) == 0
    assert found["NoNewPrivs"] == "1"
    assert "uid=0" not in await prints(admin, "su -c id; sudo -n id; true")


async def test_a_job_cannot_write_to_the_system(admin: Client) -> None:
    targets = ["/", "/etc", "/usr/bin", "/var", "/dev", "/sys", "/proc/sys/kernel", "/root", "/home"]
    script = "".join(f"(echo x >{target}/jobworker-attack) && echo WROTE {target};" for target in targets)
    script += "echo x >/proc/sys/kernel/hostname && echo WROTE; mount -o remount,rw / && echo WROTE"
    assert "WROTE" not in await prints(admin, script)


async def test_a_job_has_private_temporary_directories(admin: Client) -> None:
    for directory in ("/tmp", "/var/tmp", "/dev/shm"):
        one = await admin.create("sh", "-c", f"echo x >{directory}/mine; ls -A {directory}; sleep 1000")
        assert await prints(admin, f"ls -A {directory}") == ""
        assert not exists(f"{directory}/mine")
        await admin.stub.StopJob(job_service_pb2.StopJobRequest(id=one.id))


async def test_a_job_cannot_read_keys_or_logs(admin: Client, server: Server) -> None:
    assert server.state
    other, _ = await admin.run("echo", "another job's secret")
    files = [
        *(server.certs / name for name in ("ca-key.pem", "server-key.pem", "admin-key.pem")),
        server.state / "state/jobs" / other.id / "output.log",
    ]
    assert all(file.exists() for file in files)
    output = await prints(admin, "; ".join(f"cat {file}" for file in files))
    assert "KEY" not in output
    assert "secret" not in output
    # Nor as root of a new user namespace: the mounts that hide them are locked there.
    hidden = f"unshare -rm sh -c 'umount -R /tmp; umount {server.certs}; cat {server.certs}/ca-key.pem'"
    assert "KEY" not in await prints(admin, hidden)


async def test_a_job_sees_and_signals_only_its_own_processes(admin: Client, server: Server) -> None:
    assert server.process
    victim = await admin.create("sleep", "987654")
    (victim_pid,) = pids_with("987654")
    seen = await prints(admin, "ps -e -o args")
    assert "jobworkerd" not in seen
    assert "987654" not in seen
    targets = [server.process.pid, victim_pid, *(each.pid for each in server.api_processes())]
    await prints(admin, "; ".join(f"kill -9 {pid}" for pid in targets) + "; kill -9 -1; echo after")
    got = await admin.stub.GetJob(job_service_pb2.GetJobRequest(id=victim.id))
    assert got.job.status == job_pb2.JOB_STATUS_RUNNING
    assert psutil.pid_exists(server.process.pid)
    await admin.stub.StopJob(job_service_pb2.StopJobRequest(id=victim.id))


async def test_a_job_cannot_kill_its_init(admin: Client) -> None:
    assert (await prints(admin, "kill -9 1; echo $?; sleep 0.2; echo still here")).endswith("still here\n")


async def test_no_process_outlives_the_job(admin: Client) -> None:
    script = "setsid sleep 876543 & (setsid nohup sleep 876543 >/dev/null 2>&1 <&- &) ; echo begun; exit 5"
    job, output = await admin.run("sh", "-c", script)
    assert (output, job.exit_code) == (b"begun\n", 5)
    assert pids_with("876543") == []


async def test_zombies_of_a_job_are_reaped(admin: Client) -> None:
    script = """
    for i in 1 2 3 4 5; do sh -c 'true & true & true'; done
    until ! ps -e -o stat= | grep Z; do :; done
    echo none"""
    assert (await prints(admin, script)).endswith("none\n")


async def test_the_private_directories_are_bounded_together(admin: Client) -> None:
    script = """
    for directory in $HOME /tmp /var/tmp /dev/shm; do head -c 5M /dev/zero >$directory/big; done
    cat $HOME/big /tmp/big /var/tmp/big /dev/shm/big | wc -c
    ls -A /home; id -un"""
    job, output = await admin.run("sh", "-c", f"exec 2>&1; {script}", max_memory=512, max_scratch=12)
    (part,) = [each for each in job.applied_isolation if part_name(each) == "scratch"]
    assert (part.in_force, part.value, job.max_scratch) == (True, "12 MiB", 12)
    *errors, size, home, user = output.decode().splitlines()
    assert len(errors) == 2
    assert all("No space left" in each for each in errors)
    assert 11 << 20 < int(size) <= 12 << 20
    assert (home, user) == ("job", "job")


@pytest.mark.parametrize(
    "attempt", ["mount -o remount,size=1G /tmp", "rm -rf /tmp/.. /home/..", "umount -l /home"]
)
async def test_a_job_cannot_enlarge_its_scratch(admin: Client, attempt: str) -> None:
    script = (
        f"({attempt}) 2>/dev/null; head -c 40M /dev/zero >/tmp/big; stat -c %s /tmp/big; wc -l </etc/passwd"
    )
    *_, size, accounts = (await prints(admin, script, max_memory=512, max_scratch=8)).splitlines()
    assert int(size) <= 8 << 20
    assert int(accounts) > 1


async def test_a_large_scratch_is_bounded_by_the_memory_limit(admin: Client) -> None:
    job = await admin.create(
        "sh", "-c", "df -m --output=size /tmp | tail -1", max_memory=64, max_scratch=2048
    )
    assert (await admin.stream(job.id)).bytes().split() == [b"2048"]


async def test_a_private_directory_ends_with_its_job(admin: Client) -> None:
    await admin.run("sh", "-c", "echo x >$HOME/kept; echo x >/tmp/kept")
    assert "kept" not in await prints(admin, "ls -A / $HOME /tmp")
    assert not exists("/home/job")


async def test_a_job_can_open_its_standard_streams(admin: Client) -> None:
    script = """
    echo 1 >/dev/stdout; echo 2 >/dev/stderr; echo 3 >/proc/self/fd/1; echo 4 >>/dev/fd/2
    echo 5 | tee /dev/stderr; cat /dev/stdin"""
    job, _ = await admin.run("sh", "-c", script)
    output = await admin.stream(job.id)
    assert output.bytes(job_output_pb2.OUTPUT_SOURCE_STDOUT) == b"1\n3\n5\n"
    assert output.bytes(job_output_pb2.OUTPUT_SOURCE_STDERR) == b"2\n4\n5\n"


async def test_a_job_without_a_network(admin: Client, server: Server) -> None:
    port = server.address.rpartition(":")[2]
    script = (
        f"tail -n +3 /proc/net/dev | sed 's/:.*//'; (exec 3<>/dev/tcp/127.0.0.1/{port}) && echo CONNECTED"
    )
    job, output = await admin.run("bash", "-c", script, network=job_pb2.JOB_NETWORK_NONE)
    assert output.split()[:1] == [b"lo"]
    assert b"CONNECTED" not in output
    assert job.network == job_pb2.JOB_NETWORK_NONE
    assert next(part for part in job.applied_isolation if part_name(part) == "network").in_force
    _, output = await admin.run("bash", "-c", script)
    assert b"CONNECTED" in output


async def test_the_kernel_kills_and_preempts_jobs_before_the_server(admin: Client, server: Server) -> None:
    assert server.process
    ours = oom_score(server.process.pid)
    score, nice, core = (await prints(admin, "cat /proc/self/oom_score_adj; nice; ulimit -c")).split()
    assert int(score) > ours
    assert int(nice) > os.nice(0)
    assert core == "0"


async def test_users_and_processes_are_released(admin: Client, server: Server) -> None:
    """Each spare process has an init; the inits of ended jobs are reaped."""
    await asyncio.gather(*(admin.run("true") for _ in range(20)))

    def only_spares() -> bool:
        inits = [each for each in server.descendants() if arguments(each)[:1] == ["sleep"]]
        return len(inits) <= 3

    await eventually(only_spares)


@pytest.mark.parametrize(
    ("setting", "value", "part"),
    [
        ("RUN_AS", "server", ""),
        ("RUN_AS", "nobody", "user"),
        ("MOUNT_NAMESPACE", "false", "mount_namespace"),
        ("PID_NAMESPACE", "false", "pid_namespace"),
        ("NO_NEW_PRIVILEGES", "false", "no_new_privileges"),
    ],
)
async def test_each_part_can_be_disabled(
    certs: Path, tmp_path: Path, setting: str, value: str, part: str
) -> None:
    environment = {f"JOBWORKERD_ISOLATION_{setting}": value}
    with Server.started(BIN, certs, tmp_path / "state", **environment) as server:
        async with client(server, "admin") as admin:
            job, output = await admin.run(
                "sh", "-c", "exec 2>&1; echo >/dev/stdout; id -un; pwd; echo $$; exit 3"
            )
    assert job.exit_code == 3
    assert b"Permission denied" not in output
    parts = {part_name(each): each.value for each in job.applied_isolation if each.in_force}
    user, directory, pid = output.decode().split()[-3:]
    match setting, value:
        case "RUN_AS", "server":
            assert (user, parts["user"]) == ("root", "root (0)")
        case "RUN_AS", _:
            assert user == "nobody"
            assert parts["user"].startswith("nobody (")
        case "MOUNT_NAMESPACE", _:
            assert directory == "/"
            assert part not in parts
        case "PID_NAMESPACE", _:
            assert int(pid) > 100
            assert part not in parts
        case _:
            assert part not in parts
