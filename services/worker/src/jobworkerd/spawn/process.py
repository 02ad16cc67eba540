"""Starting a job's main process: the order to a spare process, and what it reports."""

import errno
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from jobworkerd.errors import CommandNotStarted, LimitUnavailable
from jobworkerd.exhaustion import is_passing
from jobworkerd.model import JobSpec, LimitsPolicy, Network
from jobworkerd.spawn import children, exec_protocol, headroom, private_mounts
from jobworkerd.spawn.exec_protocol import Order
from jobworkerd.spawn.private_mounts import Accounts
from jobworkerd.spawn.spare import REPORT_BYTES, Spare, refused_parts
from jobworkerd.spawn.users import User

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_FIELD_OF_STEP = {"working_directory": "working_directory", "exec": "command"}

_HINTS = {
    errno.ENOENT: "; or the interpreter that its first line names is missing, or the loader that it needs",
    errno.ENOEXEC: "; a script's first line has to name its interpreter, such as #!/bin/sh",
    errno.EACCES: "; it has to be a file, with permission to execute it",
}
"""What execve(2) may also mean by an error, for a command."""

_PRIVATE = tuple(os.fsdecode(path) for path in private_mounts.PRIVATE)
_PRIVATE_HINT = (
    f"; {', '.join(_PRIVATE[:-1])} and {_PRIVATE[-1]} are private to each job, without the host's files: use "
    "another directory, or have the server's administrator add this one to isolation.writable_paths"
)


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
            with headroom.kept():
                return cls(pid, os.pidfd_open(pid))
        except OSError:
            children.end(pid)
            raise


def environment(spec: JobSpec, user: User, home: str) -> dict[str, str]:
    """Returns the job's environment: what it asks for over four variables, never the server's own."""
    return {"PATH": PATH, "HOME": home or user.home, "USER": user.name, "LANG": "C.UTF-8"} | spec.env


def give_order(spare: Spare, spec: JobSpec, user: User, home: str, accounts: Accounts = ()) -> None:
    """Tells the spare process what it will run; it prepares itself, and waits for `let_go`.

    `home` is the job's private directory, empty if it has none; `accounts` are the lines that name the user.

    Raises:
        OSError: the process was killed (EAGAIN), or the host is exhausted.
    """
    argv = [spec.command.encode(), *(arg.encode() for arg in spec.args)]
    env = {name.encode(): value.encode() for name, value in environment(spec, user, home).items()}
    directory = spec.working_directory.encode()
    identity = user.identity and tuple(user.identity)
    file = exec_protocol.write(Order(directory, argv, env, identity, home.encode(), accounts, _network(spec)))
    try:
        _send(spare, [file])
    finally:
        os.close(file)


def _network(spec: JobSpec) -> str:
    strict = spec.limits_policy is LimitsPolicy.STRICT
    return "host" if spec.network is Network.HOST else "none" if strict else "none if possible"


def let_go(spare: Spare, cgroup: int | None) -> None:
    """Has the spare process run what it was ordered, in the cgroup whose directory the descriptor is of.

    Raises:
        OSError: the process was killed (EAGAIN).
    """
    _send(spare, [] if cgroup is None else [cgroup])


def _send(spare: Spare, descriptors: list[int]) -> None:
    try:
        socket.send_fds(spare.orders, [b"!"], descriptors)
    except (BrokenPipeError, ConnectionResetError) as error:
        raise OSError(errno.EAGAIN, "the spare process was killed", "order") from error


def read_report(orders: socket.socket) -> bytes:
    """Returns the next report, which is there; empty once there is nobody to report."""
    try:
        return orders.recv(REPORT_BYTES)
    except ConnectionResetError:
        return b""


def started_pid(report: bytes) -> int | None:
    """Returns the id of the process that becomes the job, if that is what the report says."""
    word, _, rest = report.partition(b" ")
    return int(rest) if word == b"started" else None


def refused(report: bytes) -> dict[str, int]:
    """Returns the errnos of those parts of the isolation that the report says were refused."""
    word, *rest = report.split() or [b""]
    return refused_parts(rest) if word == b"refused" else {}


def _is_private(working_directory: str, file: str) -> bool:
    """Tells whether a file is in a private directory; a name without a slash is looked up in PATH instead."""
    path = Path(os.path.normpath(Path(working_directory, file)))
    return "/" in file and any(path.is_relative_to(each) for each in _PRIVATE)


def failure(spec: JobSpec, report: bytes, *, private: bool = False) -> Exception | None:
    """Returns what went wrong: nothing, the user's mistake, or an OSError of the server's.

    `private` says that the job has directories of its own in the place of some of the host's.
    """
    if not report:
        return None
    _, step, number = report.decode().split()
    code = int(number)
    if is_passing(code):
        return OSError(code, os.strerror(code), step)
    if step == "network":
        return LimitUnavailable("network", f"{os.strerror(code)}; start the server as root")
    if step not in _FIELD_OF_STEP:
        return OSError(code, os.strerror(code), step)
    subject, hint = (spec.command, _HINTS.get(code, "")) if step == "exec" else (spec.working_directory, "")
    if private and code == errno.ENOENT and _is_private(spec.working_directory, subject):
        hint = _PRIVATE_HINT
    return CommandNotStarted(
        field="args" if code == errno.E2BIG else _FIELD_OF_STEP[step],
        errno_name=errno.errorcode.get(code, number),
        why=f"{subject}: {os.strerror(code)}{hint}",
    )
