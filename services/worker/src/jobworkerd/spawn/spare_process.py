"""The life of a spare process, from its fork to the execve of a job's command.

1. The fork server forks the process, which reports its PID (`Forked`).
2. `set_up` resets signals and sets the process group, descriptors and resource limits.
3. `isolation.enter` enters the namespaces, starts the init and mounts the private directories.
4. The process runs through the remaining steps once without effect (`_rehearse`) and reports `Ready`.
5. It waits for an `ExecRequest`, decodes it, and waits for its release.
6. It creates the job's process with vfork inside the job's cgroup, and kills itself.
7. The job's process reports `Started` and begins a session. If requested, it leaves the network, and resizes
   the private directories or moves them to disk. It becomes the job's user, changes to the working directory,
   installs the system call filter and calls execve(2).

The job's process is born in its cgroup, so no instruction of the command runs outside of it. It shares the
memory of the spare process, so no page is copied or charged to the job. A move into the cgroup by a write to
cgroup.procs would wait 8 to 12 ms for a grace period of RCU.
"""

import contextlib
import fcntl
import os
import signal
import socket
import time
from typing import NamedTuple, NoReturn

from jobworkerd.exhaustion import is_passing
from jobworkerd.spawn import clone, exec_protocol, isolation, private_mounts, seccomp
from jobworkerd.spawn.exec_protocol import (
    ExecRequest,
    Failed,
    Forked,
    Ready,
    Refused,
    Report,
    RequestedNetwork,
    Started,
)
from jobworkerd.spawn.isolation import Isolation
from jobworkerd.spawn.spare_setup import CONTROL_FD, Setup, set_up

_TIOCSCTTY = 0x540E
"""Makes a terminal the controlling one of the session (ioctl_tty(2)); termios would have to be loaded."""

_RETRY_SECONDS = 0.01
"""Delay before a report is sent again on an exhausted host."""


class Received(NamedTuple):
    """A request with the descriptors of the cgroup and of the scratch on disk, if the job has them."""

    request: ExecRequest
    cgroups: list[int]
    scratch: int | None


def become_spare(fds: tuple[int, int, int, int], setup: Setup) -> NoReturn:
    """Turn a new process into the command of a job. Send `Failed` and exit if a step fails.

    `fds` are stdin, stdout, stderr and the control socket.
    """
    steps, control = ["set_up"], fds[3]
    try:
        _send_report(control, Forked(os.getpid()))
        set_up(fds, setup.open_files)
        control = CONTROL_FD
        entered = _prepare(setup)
        steps.append("request")
        if received := _await_request(entered.init):
            program = b"" if "seccomp" in entered.refused else setup.isolation.seccomp or b""
            _execute_request(received, steps, setup.isolation, program)
    except OSError as error:
        report_failure(control, steps[-1], error)
    finally:
        os._exit(127)


def _send_report(control: int, report: Report) -> None:
    """Send a report and retry on an exhausted host: the supervisor would not know an unreported process.

    Raises:
        OSError: the supervisor has closed the control socket.
    """
    packet = exec_protocol.encode(report)
    while True:
        try:
            os.write(control, packet)
        except OSError as error:
            if not is_passing(error.errno):
                raise
            time.sleep(_RETRY_SECONDS)
        else:
            return


def report_failure(control: int, step: str, error: OSError) -> None:
    """Report that a step failed."""
    _send_report(control, Failed(step, error.errno or 0))


def _prepare(setup: Setup) -> isolation.Entered:
    """Enter the isolation and report `Ready`."""
    entered = isolation.enter(setup.isolation, lambda init: _send_report(CONTROL_FD, Forked(init)))
    try:
        _rehearse()
        os.setpriority(os.PRIO_PROCESS, 0, setup.nice)  # a client can wait from here on
        _send_report(CONTROL_FD, Ready(os.getpid(), entered.init, entered.refused))
    except OSError:
        # If the supervisor died before the init asked for a signal on that event, the init must die here.
        if entered.init:
            os.kill(entered.init, signal.SIGKILL)
        raise
    return entered


def _rehearse() -> None:
    """Run the code of the later steps without effect.

    A forked process copies each page of its parent when it first writes to it. The copies are made now,
    while no client waits.
    """
    file = exec_protocol.write_request(ExecRequest(b"/", [b"/"], {b"PATH": b"/"}))
    request = exec_protocol.read_request(file)
    with contextlib.suppress(OSError):
        clone.vfork_sibling(file)  # fails, because the file is not a cgroup
    with contextlib.suppress(OSError):
        _execute(request, ["rehearsal"], b"")
    os.close(file)
    os.kill(os.getpid(), 0)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _await_request(init: int) -> Received | None:
    """Return what the supervisor sent. At the end of the socket, kill the init and return None.

    The init can miss the death of a supervisor: a process that the supervisor was forking holds the sockets
    longer. `Ready` succeeds then, and the init asks too late for a signal.
    """
    received = None
    try:
        received = _read_request()
        return received
    finally:
        if init and not received:
            os.kill(init, signal.SIGKILL)


def _read_request() -> Received | None:
    with socket.socket(fileno=os.dup(CONTROL_FD)) as control:
        files = exec_protocol.receive_descriptors(control)
        if not files:
            return None
        file, *others = files
        request = exec_protocol.read_request(file)
        scratch = others.pop() if request.scratch_on_disk else None
        for descriptor in others:
            for standard in range(3) if request.terminal else [0]:
                os.dup2(descriptor, standard)
        cgroups = exec_protocol.receive_descriptors(control)
        return None if cgroups is None else Received(request, cgroups, scratch)


def _execute_request(received: Received, steps: list[str], wanted: Isolation, program: bytes) -> NoReturn:
    """Create the job's process and execute the request there. `steps` ends with the current step.

    `program` is the system call filter, or empty.
    """
    request, cgroups, scratch = received
    steps.append("cgroup")
    pid, joined = _vfork(*cgroups)
    _kill_spare_process()
    # Report before leaving the process group: the supervisor discards an unreported process by its group.
    _send_report(CONTROL_FD, Started(pid))
    os.nice(wanted.nice)
    os.setsid()
    if request.terminal:
        fcntl.ioctl(0, _TIOCSCTTY, 0)
    if not joined:
        _join(*cgroups)
    steps.append("network")
    if refused := _leave_network(request.network):
        _send_report(CONTROL_FD, Refused(refused))
    steps.append("scratch")
    if scratch is not None:
        private_mounts.move_to_disk(wanted.view, scratch)
    elif request.scratch_bytes != wanted.view.scratch_bytes:
        private_mounts.resize_scratch(wanted.view, request.scratch_bytes)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    _execute(request, steps, program)


def _leave_network(network: RequestedNetwork) -> dict[str, int]:
    """Enter a network namespace if requested; return the errno if an optional one was refused."""
    try:
        if network != "host":
            isolation.leave_network()
    except OSError as error:
        if network == "none" or is_passing(error.errno):
            raise
        return {"network": error.errno or 0}
    return {}


def _execute(request: ExecRequest, steps: list[str], program: bytes) -> NoReturn:
    steps.append("user")
    private_mounts.name_user(request.accounts)
    if request.user:
        isolation.become_user(request.user, request.home)
    steps.append("working_directory")
    os.chdir(request.directory)
    if program:
        steps.append("seccomp")
        seccomp.install(program)
    steps.append("exec")
    # All descriptors except 0, 1 and 2 have FD_CLOEXEC.
    os.execvpe(request.argv[0], request.argv, request.env)  # noqa: S606 - a job's command runs without a shell


def _vfork(cgroup: int | None = None) -> tuple[int, bool]:
    """Create the job's process and return there: its PID, and whether it is in its cgroup."""
    if cgroup is None:
        return clone.vfork_sibling(None), True
    try:
        return clone.vfork_sibling(cgroup), True
    except OSError:
        # Linux before 5.7 lacks CLONE_INTO_CGROUP. Any other cause fails again, and is reported, in `_join`.
        return clone.vfork_sibling(None), False


def _kill_spare_process() -> None:
    """Kill the process whose memory this process uses, before it can run again.

    It may have no PID in this PID namespace, but it is still in the same process group.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.kill(0, signal.SIGTERM)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _join(cgroup: int) -> None:
    procs = os.open("cgroup.procs", os.O_WRONLY | os.O_CLOEXEC, dir_fd=cgroup)
    os.write(procs, b"0")
