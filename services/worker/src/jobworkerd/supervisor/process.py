"""Starting a job's main process: the order to a spare process, and what it reports."""

import errno
import os
import pwd
import socket
from dataclasses import dataclass
from typing import Self

from jobworkerd.errors import CommandNotStarted
from jobworkerd.model import JobSpec
from jobworkerd.supervisor import order, spares
from jobworkerd.supervisor.order import Order
from jobworkerd.supervisor.spares import Spare

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_FIELD_OF_STEP = {"working_directory": "working_directory", "exec": "command"}


@dataclass(frozen=True)
class Process:
    """A job's main process, a child of ours until it is reaped; its pidfd is the receiver's to close."""

    pid: int
    pidfd: int

    @classmethod
    def of(cls, pid: int) -> Self:
        """Opens the pidfd of a child.

        Raises:
            OSError: there is no descriptor left. The child, which nobody could wait for, is gone then.
        """
        try:
            return cls(pid, os.pidfd_open(pid))
        except OSError:
            spares.reap(pid)
            raise


def environment(spec: JobSpec) -> dict[str, str]:
    """Returns the job's environment: what it asks for over four variables, never the server's own."""
    user = pwd.getpwuid(os.getuid())
    return {"PATH": PATH, "HOME": user.pw_dir, "USER": user.pw_name, "LANG": "C.UTF-8"} | spec.env


def give_order(spare: Spare, spec: JobSpec) -> None:
    """Tells the spare process what it will run; it prepares itself, and waits for `let_go`.

    Raises:
        OSError: the process is gone (EPIPE, ECONNRESET), or there is no memory for the order.
    """
    argv = [spec.command.encode(), *(arg.encode() for arg in spec.args)]
    env = {name.encode(): value.encode() for name, value in environment(spec).items()}
    file = order.write(Order(spec.working_directory.encode(), argv, env))
    try:
        socket.send_fds(spare.orders, [b"!"], [file])
    finally:
        os.close(file)


def let_go(spare: Spare, cgroup: int | None) -> None:
    """Has the spare process run what it was ordered, in the cgroup whose directory the descriptor is of.

    Raises:
        OSError: the process is gone (EPIPE, ECONNRESET).
    """
    socket.send_fds(spare.orders, [b"!"], [] if cgroup is None else [cgroup])


def read_report(orders: socket.socket) -> bytes:
    """Returns the next report, which is there; empty once there is nobody to report."""
    try:
        return orders.recv(spares.REPORT_BYTES)
    except ConnectionResetError:
        return b""


def started_pid(report: bytes) -> int | None:
    """Returns the id of the process that becomes the job, if that is what the report says."""
    word, _, rest = report.partition(b" ")
    return int(rest) if word == b"started" else None


def failure(spec: JobSpec, report: bytes) -> Exception | None:
    """Returns what went wrong: nothing, the user's mistake, or an OSError of the server's."""
    if not report:
        return None
    _, step, number = report.decode().split()
    code = int(number)
    if step not in _FIELD_OF_STEP:
        return OSError(code, os.strerror(code), step)
    subject = spec.command if step == "exec" else spec.working_directory
    return CommandNotStarted(
        field="args" if code == errno.E2BIG else _FIELD_OF_STEP[step],
        errno_name=errno.errorcode.get(code, number),
        why=f"{subject}: {os.strerror(code)}",
    )
