"""Check the cgroup hierarchy: `<base>/server` beside `<base>/jobs`, from start to shutdown."""

import contextlib
import signal
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import grpc
import psutil
import pytest
from applied import limit_name
from conftest import BIN
from grpc_health.v1 import health_pb2, health_pb2_grpc

from jobworker.v1 import job_pb2
from live import Server, eventually, mounted, still_alive
from live_client import Client, client, refused

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def cgroup_of_process(pid: int) -> str:
    """Return the names of a process's cgroup v2 and of its parent."""
    lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    (path,) = (line.removeprefix("0::") for line in lines if line.startswith("0::"))
    return "/".join(path.split("/")[-2:])


def _cgroups_of_live_processes(pids: set[int]) -> set[str]:
    """Return the cgroups of processes. The spare process that started a job ends at any moment after that."""
    found = set()
    for pid in pids:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            found.add(cgroup_of_process(pid))
    return found


@pytest.mark.root
async def test_the_server_cgroup_is_a_sibling_of_the_jobs_cgroup(own_server: Server) -> None:
    base, process = own_server.cgroup_base, own_server.process
    assert base
    assert process
    async with client(own_server, "admin") as admin:
        job = await admin.create("sleep", "100")
        assert cgroup_of_process(job.pid) == f"jobs/{job.id}"
        others = {process.pid, *(each.pid for each in own_server.descendants())} - {job.pid}
        assert _cgroups_of_live_processes(others) == {f"{base.name}/server"}
        assert not (base / "cgroup.procs").read_text()
        await admin.stop(job.id)
    assert own_server.stop() == 0
    assert not base.exists()


@pytest.mark.cgroup
async def test_the_server_has_more_weight_than_all_jobs_together(own_server: Server) -> None:
    base = own_server.cgroup_base
    assert base
    weights = {name: int((base / name / "cpu.weight").read_text()) for name in ("server", "jobs")}
    assert weights["server"] >= 10 * weights["jobs"]
    protected = [int((cgroup / "memory.min").read_text()) for cgroup in (base, base / "server")]
    assert min(protected) >= 128 << 20
    assert not own_server.has_event("server not protected from jobs")


@pytest.mark.root
async def test_the_next_server_removes_leftover_cgroups(own_server: Server, tmp_path: Path) -> None:
    base, process = own_server.cgroup_base, own_server.process
    assert base
    assert process
    async with client(own_server, "admin") as admin:
        job = await admin.create("sleep", "100")
    own_server_family = own_server.descendants()
    process.kill()
    process.wait()
    assert still_alive([each for each in own_server_family if each.pid != job.pid]) == []
    earlier = (
        base / "01890a5d-ac96-774b-bcce-b302099a8057"
    )  # directly below the base, where an older version put jobs
    earlier.mkdir()
    sleeper = psutil.Popen(["sleep", "100"])
    (earlier / "cgroup.procs").write_text(str(sleeper.pid))
    with Server.started(
        BIN, own_server.certs, tmp_path / "next", "--cgroup-base", f"/sys/fs/cgroup/{base.name}"
    ) as following:
        assert sleeper.wait() == -signal.SIGKILL
        assert not earlier.exists()
        assert following.has_event("removed an earlier server's cgroup")
        await eventually(lambda: not psutil.pid_exists(job.pid))
        assert following.stop() == 0
    assert not base.exists()


@pytest.mark.root
async def test_removed_cgroups_are_recreated(own_server: Server) -> None:
    base = own_server.cgroup_base
    assert base
    async with client(own_server, "admin") as admin:
        (base / "jobs").rmdir()
        job, _ = await admin.run("true")
        assert {limit_name(limit): limit.in_force for limit in job.applied_limits}["containment"]
        await eventually(lambda: own_server.has_event("cgroups recreated"))
        assert await limits_health(admin) == SERVING
    assert own_server.stop() == 0
    assert not base.exists()


@pytest.fixture
def intruder() -> Iterator["subprocess.Popen[bytes]"]:
    """A process that does not belong in the server's cgroups."""
    process = subprocess.Popen(["sleep", "100"])
    yield process
    process.kill()
    process.wait()


def disable_controllers(base: Path) -> None:
    for cgroup in (base / "jobs", base):
        enabled = (cgroup / "cgroup.subtree_control").read_text().split()
        (cgroup / "cgroup.subtree_control").write_text(" ".join(f"-{name}" for name in enabled))


async def limits_health(of: Client) -> health_pb2.HealthCheckResponse.ServingStatus:
    request = health_pb2.HealthCheckRequest(service="limits")
    return (await health_pb2_grpc.HealthStub(of.channel).Check(request, timeout=30)).status


@pytest.mark.cgroup
async def test_disabled_controllers_are_enabled_again(own_server: Server) -> None:
    base = own_server.cgroup_base
    assert base
    async with client(own_server, "admin") as admin:
        job = await admin.create("sleep", "100", max_pids=20)
        disable_controllers(base)
        await eventually(lambda: own_server.has_event("cgroups recreated"))
        assert (own_server.cgroup_of(job) / "pids.max").read_text() == "20\n"
        assert all(limit.in_force for limit in (await admin.get(job.id)).applied_limits)
        await admin.stop(job.id)


@pytest.mark.cgroup
async def test_controllers_that_cannot_be_enabled_again_are_reported(
    own_server: Server, intruder: "subprocess.Popen[bytes]"
) -> None:
    base = own_server.cgroup_base
    assert base
    async with client(own_server, "admin") as admin:
        running = await admin.create("sleep", "100", max_pids=20)
        disable_controllers(base)
        (base / "cgroup.procs").write_text(
            str(intruder.pid)
        )  # a cgroup with processes cannot enable controllers for its children
        await eventually(lambda: own_server.has_event("limits cannot be enforced"))
        await until_health(admin, NOT_SERVING)
        job, _ = await admin.run("true")
        reasons = {limit_name(limit): limit.reason for limit in job.applied_limits}
        assert f"cannot be enabled in {base} (Device or resource busy" in reasons["max_memory"]
        assert "; move its processes to another cgroup" in reasons["max_memory"]
        async with refused(grpc.StatusCode.FAILED_PRECONDITION) as refusal:
            await admin.create("true", limits_policy=job_pb2.LIMITS_POLICY_STRICT)
        assert refusal.reason == "LIMIT_UNAVAILABLE"
        intruder.kill()
        intruder.wait()
        await until_health(admin, SERVING)
        assert all(limit.in_force for limit in (await admin.get(running.id)).applied_limits)
        await admin.stop(running.id)


async def until_health(of: Client, status: health_pb2.HealthCheckResponse.ServingStatus) -> None:
    request = health_pb2.HealthCheckRequest(service="limits")
    async for response in health_pb2_grpc.HealthStub(of.channel).Watch(request, timeout=60):
        if response.status == status:
            return


@pytest.mark.root
def test_an_existing_base_is_kept_at_shutdown(certs: Path, tmp_path: Path) -> None:
    name = f"jobworker-test-{uuid.uuid4().hex[:12]}"
    base = mounted(name)
    assert base
    base.mkdir()
    try:
        flags = ("--cgroup-base", f"/sys/fs/cgroup/{name}")
        with Server.started(BIN, certs, tmp_path / "state", *flags) as server:
            assert server.stop() == 0
        assert [entry.name for entry in base.iterdir() if entry.is_dir()] == []
    finally:
        base.rmdir()


@pytest.mark.root
def test_two_servers_do_not_share_a_base(own_server: Server, tmp_path: Path) -> None:
    assert own_server.cgroup_base
    refused = serve(own_server.certs, tmp_path, own_server.cgroup_base)
    assert refused.returncode == 1
    assert f"another server uses {own_server.cgroup_base}" in refused.stderr
    assert own_server.cgroup_base.exists()


def test_the_cgroup_mount_is_refused_as_a_base(certs: Path, tmp_path: Path) -> None:
    base = mounted("x")
    assert base
    refused = serve(certs, tmp_path, base.parent)
    assert refused.returncode == 1
    assert f"cgroup_base: {base.parent} is the cgroup v2 mount itself; use a directory below it" in (
        refused.stderr
    )
    assert not (base.parent / base.parent.name).exists()


def serve(certs: Path, state: Path, base: Path) -> "subprocess.CompletedProcess[str]":
    argv: list[str | Path] = [BIN / "jobworkerd", "serve", "--listen", "127.0.0.1:0", "--certs-dir", certs]
    argv += ["--cgroup-base", base, "--state-dir", state / "refused"]
    return subprocess.run(argv, check=False, capture_output=True, text=True, timeout=60)
