"""Starting a job's main process: fork, set-up, join the cgroup, execve.

The supervisor has one thread, so the child of its fork may run Python. Joining the cgroup is the
child's last step before execve(2): no instruction of the user's program runs outside of the cgroup, and
little of the set-up is charged to it. What goes wrong comes back over a pipe that execve closes.
"""

import errno
import fcntl
import functools
import os
import pwd
import resource
import signal
from contextlib import ExitStack
from dataclasses import dataclass
from typing import NoReturn

from jobworkerd.errors import CommandNotStarted
from jobworkerd.model import JobSpec

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_UMASK = 0o022
_PIPE_BYTES = 1 << 20
"""As far as an unprivileged process may enlarge a pipe (/proc/sys/fs/pipe-max-size, pipe(7))."""

_ERROR_FD = 3
_JOIN_FD = 4
_FREE_FD = 5

_FIELD_OF_STEP = {"working_directory": "working_directory", "exec": "command"}


@dataclass(frozen=True)
class Child:
    """A forked child. Its file descriptors are the receiver's to close, its pid to reap."""

    pid: int
    pidfd: int
    stdout: int
    stderr: int
    exec_report: int


@dataclass(frozen=True)
class _Command:
    """What execve(2) takes, encoded before the fork: bytes mean the same under every locale."""

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


def fork(spec: JobSpec, join_fd: int | None, open_files: tuple[int, int]) -> Child:
    """Forks the job's main process.

    `join_fd` moves the process into the job's cgroup that writes `0` to it; `open_files` are the soft
    and hard RLIMIT_NOFILE of the job. The child reports over `exec_report`: nothing before the end of
    file if execve succeeded, else what `exec_failure` reads.

    Raises:
        OSError: a pipe, a process or a pidfd could not be had. Nothing is left behind.
    """
    command = _Command.of(spec)
    with ExitStack() as on_failure, ExitStack() as always:

        def pipe() -> tuple[int, int]:
            read_end, write_end = os.pipe2(os.O_CLOEXEC)
            on_failure.callback(os.close, read_end)
            always.callback(os.close, write_end)
            os.set_blocking(read_end, False)
            return read_end, write_end

        stdin = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        always.callback(os.close, stdin)
        (stdout, stdout_end), (stderr, stderr_end), (report, report_end) = pipe(), pipe(), pipe()
        for end in (stdout, stderr):
            _enlarge(end)
        pid = _fork(command, (stdin, stdout_end, stderr_end, report_end, join_fd), open_files)
        on_failure.callback(_discard, pid)
        pidfd = os.pidfd_open(pid)
        on_failure.pop_all()
    return Child(pid, pidfd, stdout, stderr, report)


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


def _fork(command: _Command, fds: tuple[int, int, int, int, int | None], open_files: tuple[int, int]) -> int:
    """Forks with the signals blocked that the parent handles: one that met the child while it still has
    the handlers would be written to the wakeup descriptor that both share, and the parent would take it
    for its own.
    """
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, _not_default())
    try:
        pid = os.fork()
        if pid == 0:
            _become(command, fds, open_files)
        return pid
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def _become(
    command: _Command, fds: tuple[int, int, int, int, int | None], open_files: tuple[int, int]
) -> NoReturn:
    """Turns the child into the command; ends it with a report where that fails. Never returns."""
    step = "signals"
    try:
        _reset_signals()
        step = "session"
        os.setsid()
        os.umask(_UMASK)
        step = "oom_score_adj"
        _be_killed_before_the_server()
        step = "descriptors"
        _place_descriptors(fds)
        step = "resource limits"
        resource.setrlimit(resource.RLIMIT_NOFILE, open_files)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        step = "working_directory"
        os.chdir(command.directory)
        step = "cgroup"
        if fds[4] is not None:
            os.write(_JOIN_FD, b"0")
        step = "exec"
        os.execvpe(command.path, command.argv, command.env)  # noqa: S606 - no shell is the point
    except OSError as error:
        os.write(_ERROR_FD, f"{step.replace(' ', '_')} {error.errno}".encode())
    finally:
        os._exit(127)


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


def _place_descriptors(fds: tuple[int, int, int, int, int | None]) -> None:
    """Leaves 0, 1 and 2 to the command, two that execve closes to the set-up, and no other."""
    places = dict(zip((0, 1, 2, _ERROR_FD, _JOIN_FD), fds, strict=True))
    # Out of the way first: a source may have the number of another's place.
    high = {
        place: fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 16) for place, fd in places.items() if fd is not None
    }
    for place, fd in high.items():
        os.dup2(fd, place, inheritable=place <= 2)
    os.closerange(_FREE_FD, os.sysconf("SC_OPEN_MAX"))
