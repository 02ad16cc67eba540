"""Helpers for tests that start real spare processes."""

import os
import signal
from dataclasses import dataclass

import psutil

from jobworkerd.model import JobSpec, Limits, LimitsPolicy
from jobworkerd.spawn import exec_protocol, process
from jobworkerd.spawn.exec_protocol import Failed, Report, Started
from jobworkerd.spawn.isolation import Isolation
from jobworkerd.spawn.parent import Parent
from jobworkerd.spawn.spare import Spare
from jobworkerd.spawn.spare_pool import SparePool
from jobworkerd.spawn.spare_setup import Setup
from jobworkerd.spawn.users import User

SETUP = Setup((256, 256), 0, Isolation(namespaces=(), no_new_privileges=False, nice=0))
WITH_INIT = SETUP._replace(isolation=SETUP.isolation._replace(namespaces=("pid",)))
SERVER = User("root", "/root", None)
LIMITS = Limits(max_cpu=100, max_memory=64, max_io_bps=0, max_pids=0)


def new_spec(command: str, *args: str) -> JobSpec:
    return JobSpec(
        command=command,
        args=args,
        limits=LIMITS,
        limits_policy=LimitsPolicy.BEST_EFFORT,
        stop_signal=signal.SIGTERM,
        stop_grace_period=1.0,
        owner="test",
        working_directory="/",
    )


@dataclass
class Result:
    """The result of a spare process and of the command that it executed."""

    pid: int | None
    exit_code: int | None
    output: bytes
    report: Report | None

    @property
    def failed(self) -> Failed:
        assert isinstance(self.report, Failed)
        return self.report


async def run(pool: SparePool, spec: JobSpec, cgroup: int | None = None) -> Result:
    """Run a command until it exits."""
    return finish(await pool.take(), spec, cgroup, pool._parent)


def finish(spare: Spare, spec: JobSpec, cgroup: int | None, parent: Parent) -> Result:
    process.send(spare, process.exec_request(spec, SERVER, ""))
    process.release(spare.control, cgroup)
    spare.control.settimeout(None)
    pid = None
    report = exec_protocol.receive(spare.control)
    if isinstance(report, Started):
        pid = report.pid
        report = exec_protocol.receive(spare.control)
    parent.discard(spare.pid, group=pid is None)
    exit_code = reaped_exit_code(pid) if pid else None
    os.set_blocking(spare.stdout, True)
    output = b"".join(iter(lambda: os.read(spare.stdout, 1 << 20), b""))
    spare.control.close()
    os.close(spare.stdout)
    os.close(spare.stderr)
    return Result(pid, exit_code, output, report)


def reaped_exit_code(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def has_ended(pid: int) -> bool:
    """Return whether a child has ended. The child must not have been reaped."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def fork_server_pid(pool: SparePool) -> int:
    """Return the PID of the current fork server; 0 if none runs."""
    server = pool._fork_client.current
    return server.pid.result() if server else 0


def child_list() -> list[psutil.Process]:
    return psutil.Process().children()
