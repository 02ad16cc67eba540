"""Starting a job's main process: the order to a spare process, and what it reports."""

import errno
import os
import socket
from dataclasses import dataclass
from typing import Self

from jobworkerd.errors import CommandNotStarted
from jobworkerd.model import JobSpec
from jobworkerd.supervisor import order, spares
from jobworkerd.supervisor.spares import Spare

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


def run_order(spare: Spare, spec: JobSpec, cgroup: int | None) -> None:
    """Has the spare process run the job's command in the cgroup whose directory the descriptor is of.

    Raises:
        OSError: the process is gone (EPIPE, ECONNRESET), or there is no memory for the order.
    """
    file = order.write(order.order_for(spec))
    try:
        socket.send_fds(spare.orders, [b"!"], [file] if cgroup is None else [file, cgroup])
    finally:
        os.close(file)


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
