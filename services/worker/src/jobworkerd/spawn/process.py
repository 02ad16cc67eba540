"""The main process of a job: the `ExecRequest` that starts it, and the errors that it reports."""

import errno
import os
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path

from jobworkerd.errors import CommandNotStarted, LimitUnavailable
from jobworkerd.exhaustion import is_passing
from jobworkerd.limit_bounds import MIB
from jobworkerd.model import JobSpec, LimitsPolicy, Network
from jobworkerd.spawn import exec_protocol, private_mounts
from jobworkerd.spawn.exec_protocol import ExecRequest, Failed, RequestedNetwork
from jobworkerd.spawn.private_mounts import Accounts
from jobworkerd.spawn.spare import Spare
from jobworkerd.spawn.users import User
from jobworkerd.trace_context import TraceContext

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_FIELD_OF_STEP = {"working_directory": "working_directory", "exec": "command"}

_HINTS = {
    errno.ENOENT: "; if the file exists, its interpreter (first line) or its loader is missing",
    errno.ENOEXEC: "; the first line of a script must name its interpreter, such as #!/bin/sh",
    errno.EACCES: "; use a regular file with execute permission",
}
"""Other meanings of errors of execve(2)."""

_PRIVATE = tuple(os.fsdecode(path) for path in private_mounts.PRIVATE)
_PRIVATE_HINT = (
    f"; {', '.join(_PRIVATE[:-1])} and {_PRIVATE[-1]} are private to each job, without the host's files: use "
    "another directory, or have the server's administrator add this one to isolation.writable_paths"
)


def environment(spec: JobSpec, user: User, home: str, trace: TraceContext | None = None) -> dict[str, str]:
    """Return the job's environment: defaults and the job's own variables, never the server's."""
    term = {"TERM": spec.terminal.term} if spec.terminal else {}
    defaults = {"PATH": PATH, "HOME": home or user.home, "USER": user.name, "LANG": "C.UTF-8"}
    return defaults | term | _trace_variables(spec.env, trace) | spec.env


def _trace_variables(env: Mapping[str, str], trace: TraceContext | None) -> dict[str, str]:
    """Return the variables of a trace. The client's own trace must not get the state of another one."""
    return trace.variables if trace and "TRACEPARENT" not in env else {}


def exec_request(
    spec: JobSpec, user: User, home: str, accounts: Accounts = (), trace: TraceContext | None = None
) -> ExecRequest:
    """Return the `ExecRequest` for a job.

    `home` is the job's private directory, or empty. `accounts` are the entries that name the user. `trace` is
    the parent of the spans of the command.
    """
    return ExecRequest(
        directory=spec.working_directory.encode(),
        argv=[spec.command.encode(), *(arg.encode() for arg in spec.args)],
        env={name.encode(): value.encode() for name, value in environment(spec, user, home, trace).items()},
        user=user.identity,
        home=home.encode(),
        accounts=accounts,
        network=_network(spec),
        terminal=spec.terminal is not None,
        scratch_bytes=spec.max_scratch * MIB if home else 0,
    )


def send(spare: Spare, request: ExecRequest, descriptors: Sequence[int] = ()) -> None:
    """Send a request with the descriptors that it needs. The spare process waits for `release` then.

    Raises:
        OSError: the process was killed (EAGAIN), or the host is exhausted.
    """
    file = exec_protocol.write_request(request)
    try:
        exec_protocol.send(spare.control, [file, *descriptors])
    finally:
        os.close(file)


def _network(spec: JobSpec) -> RequestedNetwork:
    if spec.network is Network.HOST:
        return "host"
    return "none" if spec.limits_policy is LimitsPolicy.STRICT else "none if possible"


def release(control: socket.socket, cgroup: int | None) -> None:
    """Let a spare process execute its request in a cgroup, given by a descriptor of its directory.

    Raises:
        OSError: the process was killed (EAGAIN).
    """
    exec_protocol.send(control, [] if cgroup is None else [cgroup])


def _is_private(working_directory: str, file: str) -> bool:
    """Return whether a file is in a private directory. A name without a slash is searched in PATH instead."""
    path = Path(os.path.normpath(Path(working_directory, file)))
    return "/" in file and any(path.is_relative_to(each) for each in _PRIVATE)


def error_of(spec: JobSpec, failed: Failed, *, private: bool = False) -> Exception:
    """Return the error for a failed start: the client's mistake, or an OSError of the server.

    `private` says that the job has private directories.
    """
    step, code = failed
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
        errno_name=errno.errorcode.get(code, str(code)),
        why=f"{subject}: {os.strerror(code)}{hint}",
    )
