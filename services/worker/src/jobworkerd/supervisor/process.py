"""Starting a job's main process: fork, set-up, order, join the cgroup, execve.

The supervisor has one thread, so the child of its fork may run Python. The child is forked before there
is a job for it, does the set-up that is the same for all jobs, and waits for its order: the fork and the
pages that it copies are most of what starting a job costs, and nobody waits for them (see `spare`).

Joining the cgroup is the child's last step before execve(2): no instruction of the user's program runs
outside of the cgroup, and little of the set-up is charged to it. What goes wrong comes back over the
socket that the order came by, which execve closes.
"""

import errno
import fcntl
import functools
import os
import pwd
import resource
import signal
import socket
from contextlib import ExitStack
from dataclasses import dataclass
from typing import NoReturn

import msgspec

from jobworkerd.errors import CommandNotStarted
from jobworkerd.model import JobSpec

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_UMASK = 0o022
_PIPE_BYTES = 1 << 20
"""As far as an unprivileged process may enlarge a pipe (/proc/sys/fs/pipe-max-size, pipe(7))."""

_ORDER_FD = 3
_FREE_FD = 4
_MAX_ORDER_FDS = 2

_FIELD_OF_STEP = {"working_directory": "working_directory", "exec": "command"}


@dataclass(frozen=True)
class Child:
    """A forked child. Its file descriptors are the receiver's to close, its pid to reap.

    `orders` is the socket that takes its order. Afterwards the child reports there: nothing before the
    end of file if execve succeeded, else what `exec_failure` reads.
    """

    pid: int
    pidfd: int
    stdout: int
    stderr: int
    orders: int


class _Command(msgspec.Struct, frozen=True):
    """What execve(2) takes, encoded by the parent: bytes mean the same under every locale."""

    path: bytes
    argv: list[bytes]
    env: dict[bytes, bytes]
    directory: bytes

    @classmethod
    def of(cls, spec: JobSpec) -> "_Command":
        path = spec.command.encode()
        env = {name.encode(): value.encode() for name, value in environment(spec).items()}
        return cls(path, [path, *(arg.encode() for arg in spec.args)], env, spec.working_directory.encode())


def environment(spec: JobSpec) -> dict[str, str]:
    """Returns the job's environment: what it asks for over four variables, never the server's own."""
    user = pwd.getpwuid(os.getuid())
    return {"PATH": PATH, "HOME": user.pw_dir, "USER": user.pw_name, "LANG": "C.UTF-8"} | spec.env


def fork(open_files: tuple[int, int]) -> Child:
    """Forks a process that waits for its `order`, and ends by itself if the other end of `orders` closes.

    `open_files` are the soft and hard RLIMIT_NOFILE of the job.

    Raises:
        OSError: a pipe, a process or a pidfd could not be had. Nothing is left behind.
    """
    with ExitStack() as on_failure, ExitStack() as always:

        def pipe() -> tuple[int, int]:
            read_end, write_end = os.pipe2(os.O_CLOEXEC)
            on_failure.callback(os.close, read_end)
            always.callback(os.close, write_end)
            os.set_blocking(read_end, False)
            return read_end, write_end

        stdin = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        always.callback(os.close, stdin)
        (stdout, stdout_end), (stderr, stderr_end) = pipe(), pipe()
        for end in (stdout, stderr):
            _enlarge(end)
        ours, childs = (each.detach() for each in socket.socketpair())
        on_failure.callback(os.close, ours)
        always.callback(os.close, childs)
        pid = _fork((stdin, stdout_end, stderr_end, childs), open_files)
        on_failure.callback(_discard, pid)
        pidfd = os.pidfd_open(pid)
        on_failure.pop_all()
    return Child(pid, pidfd, stdout, stderr, ours)


def order(child: Child, spec: JobSpec, join_fd: int | None) -> None:
    """Has the child run the job's command.

    `join_fd` moves the process into the job's cgroup that writes `0` to it.

    Raises:
        OSError: the child is gone (EPIPE, ECONNRESET), or there is no memory for the order.
    """
    # In a file of memory, as a socket may not have room for a whole command line, and nobody may wait.
    command = os.memfd_create("jobworker-order")
    try:
        os.write(command, msgspec.msgpack.encode(_Command.of(spec)))
        fds = [command] if join_fd is None else [command, join_fd]
        with socket.socket(fileno=os.dup(child.orders)) as orders:
            socket.send_fds(orders, [b"!"], fds)
    finally:
        os.close(command)


def discard(child: Child) -> None:
    """Ends a child that has no order, and gives back what it has."""
    for descriptor in (child.orders, child.stdout, child.stderr, child.pidfd):
        os.close(descriptor)
    _discard(child.pid)


def exec_failure(spec: JobSpec, report: bytes) -> Exception | None:
    """Returns what the child reported: None (success), the user's mistake, or an OSError of the server's."""
    if not report:
        return None
    step, number = report.decode().split()
    code = int(number)
    if step not in _FIELD_OF_STEP:
        return OSError(code, os.strerror(code), step)
    subject = spec.command if step == "exec" else spec.working_directory
    return CommandNotStarted(
        field="args" if code == errno.E2BIG else _FIELD_OF_STEP[step],
        errno_name=errno.errorcode.get(code, number),
        why=f"{subject}: {os.strerror(code)}",
    )


def _enlarge(pipe: int) -> None:
    try:
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    except PermissionError:
        # The user's share of pipe pages is used up (pipe(7), pipe-user-pages-soft): a small one serves.
        return


def _discard(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def _fork(fds: tuple[int, int, int, int], open_files: tuple[int, int]) -> int:
    """Forks with the signals blocked that the parent handles: one that met the child while it still has
    the handlers would be written to the wakeup descriptor that both share, and the parent would take it
    for its own.
    """
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, _not_default())
    try:
        pid = os.fork()
        if pid == 0:
            _become_a_job(fds, open_files)
        return pid
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def _become_a_job(fds: tuple[int, int, int, int], open_files: tuple[int, int]) -> NoReturn:
    """Turns the child into the command that it is ordered; ends it with a report where that fails."""
    steps = ["set_up"]
    orders = fds[3]
    try:
        _set_up(fds, open_files)
        orders = _ORDER_FD
        _obey(steps)
    except OSError as error:
        os.write(orders, f"{steps[-1]} {error.errno}".encode())
    finally:
        os._exit(127)


def _set_up(fds: tuple[int, int, int, int], open_files: tuple[int, int]) -> None:
    _reset_signals()
    os.setsid()
    os.umask(_UMASK)
    _be_killed_before_the_server()
    _place_descriptors(fds)
    resource.setrlimit(resource.RLIMIT_NOFILE, open_files)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _obey(steps: list[str]) -> None:
    """Waits for the order and executes it; returns if there comes none. `steps` ends in the current one."""
    steps.append("order")
    with socket.socket(fileno=os.dup(_ORDER_FD)) as orders:
        _, passed, _, _ = socket.recv_fds(orders, 1, _MAX_ORDER_FDS)
    if not passed:
        return
    for descriptor in passed:
        os.set_inheritable(descriptor, False)  # noqa: FBT003 - it takes no keyword
    command = _read_command(passed[0])
    steps.append("working_directory")
    os.chdir(command.directory)
    steps.append("cgroup")
    for join_fd in passed[1:]:
        os.write(join_fd, b"0")
    steps.append("exec")
    # Every descriptor but 0, 1 and 2 closes itself.
    os.execvpe(command.path, command.argv, command.env)  # noqa: S606 - no shell is the point


def _read_command(descriptor: int) -> _Command:
    size = os.fstat(descriptor).st_size
    return msgspec.msgpack.decode(os.pread(descriptor, size, 0), type=_Command)


def _be_killed_before_the_server() -> None:
    """Undoes what the server may have of oom_score_adj (proc(5)): under pressure the job goes first."""
    with open("/proc/self/oom_score_adj", "r+b", buffering=0) as file:  # noqa: PTH123 - the child of a fork
        if int(file.read()) < 0:
            file.write(b"0")


def _reset_signals() -> None:
    signal.set_wakeup_fd(-1)
    for number in _not_default():
        # execve(2) resets handlers by itself, but leaves ignored what Python ignores (SIGPIPE, SIGXFSZ).
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


@functools.cache
def _not_default() -> tuple[int, ...]:
    """Returns the signals that this process handles or ignores; it settles that before the first job."""
    numbers = map(int, signal.valid_signals())
    return tuple(number for number in numbers if signal.getsignal(number) is not signal.SIG_DFL)


def _place_descriptors(fds: tuple[int, int, int, int]) -> None:
    """Leaves 0, 1 and 2 to the command, one that execve closes to the orders, and no other."""
    # Out of the way first: a source may have the number of another's place.
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 16) for fd in fds]
    for place, fd in enumerate(high):
        os.dup2(fd, place, inheritable=place < _ORDER_FD)
    os.closerange(_FREE_FD, os.sysconf("SC_OPEN_MAX"))
