"""Isolates a process from the host, the server and other jobs: namespaces, private directories, privileges.

A spare process does everything that does not depend on the job in advance. If the kernel refuses a part, the
spare process continues and reports it. The supervisor decides whether a job runs without that part.

The fork server loads this module, so it imports little (see `fork_server`). See namespaces(7),
pid_namespaces(7) and prctl(2), and `private_mounts` for the mounts.
"""

import contextlib
import fcntl
import os
import signal
import socket
import struct
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from jobworkerd import keyring
from jobworkerd.exhaustion import is_passing
from jobworkerd.libc import checked, empty_bounding_set, libc, prctl
from jobworkerd.spawn import clone, kernel_files, namespaces, private_mounts, seccomp, user_namespace
from jobworkerd.spawn.identity import Identity
from jobworkerd.spawn.private_mounts import View

_SIOCSIFFLAGS, _IFF_UP = 0x8914, 0x1
"""netdevice(7)."""

# include/uapi/linux/prctl.h
_SET_PDEATHSIG, _SET_NO_NEW_PRIVS = 1, 38

PROC = "proc"
"""A /proc of the job's own, the part of a PID namespace that can be refused separately."""

_NOT_STARTED, _WITHOUT_PROC = 1, 2
"""Reports of an init, each followed by an errno."""


class Isolation(NamedTuple):
    """The settings of the isolation that a spare process needs.

    `namespaces` are names of `namespaces.CONFIGURABLE`. `view` is the view of the host's file systems in a
    job with a mount namespace. `seccomp` is the system call filter, see `seccomp`; None disables it.
    `user_namespace` is set for a server without root, which needs it for the other namespaces.
    """

    namespaces: tuple[str, ...]
    no_new_privileges: bool
    nice: int
    view: View = View()
    seccomp: bytes | None = None
    user_namespace: bool = False


class Entered(NamedTuple):
    """The PID of the init of the PID namespace (0 without one), and the errnos of the refused parts."""

    init: int
    refused: dict[str, int]


def enter(isolation: Isolation, announce: Callable[[int], None]) -> Entered:
    """Isolate this process and its later children as far as the kernel allows.

    The init is a sibling of this process. The supervisor discards it, and the kernel ends all processes of
    the namespace with it. The init calls `announce` with its PID, so that the supervisor learns of it even if
    this process is killed.

    Raises:
        OSError: the init cannot be started, or the host is exhausted. A job never runs with less isolation
            because of an exhausted host. No init is left.
    """
    refused = _enter_namespaces(isolation)
    init = 0
    entered = {*isolation.namespaces} - {*refused}
    if namespaces.PID.name in entered:
        init, proc_errno = _start_init(
            announce, with_proc=namespaces.MOUNT.name in entered, untraceable=isolation.user_namespace
        )
        if proc_errno:
            refused[PROC] = proc_errno
    for name, step in _further_steps(isolation, refused):
        try:
            step()
        except OSError as error:
            refused[name] = error.errno or 0
    if code := next(filter(is_passing, refused.values()), 0):
        if init:
            os.kill(init, signal.SIGKILL)
        raise OSError(code, os.strerror(code))
    return Entered(init, refused)


def _enter_namespaces(isolation: Isolation) -> dict[str, int]:
    """Enter the namespaces and mount the view; return the errnos of the refused parts."""
    refused: dict[str, int] = {}
    if isolation.user_namespace:
        try:
            user_namespace.enter()
        except OSError as error:
            return dict.fromkeys(isolation.namespaces, error.errno or 0)
    for name in isolation.namespaces:
        try:
            checked(libc().unshare(namespaces.BY_NAME[name].flag))
            if name == namespaces.MOUNT.name:
                refused |= private_mounts.make(isolation.view)
        except OSError as error:
            refused[name] = error.errno or 0
    return refused


def _further_steps(
    isolation: Isolation, refused: Mapping[str, int]
) -> Iterator[tuple[str, Callable[[], None]]]:
    if namespaces.MOUNT.name in isolation.namespaces and namespaces.MOUNT.name not in refused:
        yield namespaces.MOUNT.name, kernel_files.protect_proc
    if isolation.no_new_privileges:
        yield "no_new_privileges", _forbid_privileges
    if (program := isolation.seccomp) is not None:
        # Without no_new_privs only root can install the filter, but the filter refuses later steps of root.
        fixed = isolation.no_new_privileges and "no_new_privileges" not in refused
        yield "seccomp", lambda: seccomp.check(program, fixed_privileges=fixed)
    yield "session_keyring", keyring.join_new_session


def leave_network() -> None:
    """Enter a new network namespace, which has only a loopback interface.

    Raises:
        OSError: the kernel refused.
    """
    checked(libc().unshare(namespaces.NETWORK.flag))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh", b"lo", _IFF_UP))


def become_user(identity: Identity, home: bytes) -> None:
    """Change to another user, and give it the private directory (if not empty) and the output pipes.

    The user owns the pipes so that the job can open /dev/stdout, /dev/stderr and /proc/self/fd/1.

    Raises:
        OSError: this process lacks the privileges.
    """
    uid, gid = identity.uid, identity.gid
    if home:
        os.chown(home, uid, gid)
    for output in (1, 2):
        os.fchown(output, uid, gid)
    os.setgroups(identity.groups)
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    if identity.exclusive:
        keyring.clear_leftovers(uid)
    # If the user's quota of keys is used up, the job keeps the spare process's keyring, which no other job
    # has.
    with contextlib.suppress(OSError):
        keyring.join_new_session()


def _start_init(announce: Callable[[int], None], *, with_proc: bool, untraceable: bool) -> tuple[int, int]:
    """Start process 1 of the PID namespace. Return its PID, and the errno of the mount of /proc or 0.

    The init sleeps. That is sufficient: the kernel reaps the children of a process that ignores SIGCHLD, and
    signals go to the job's processes, which are not its children. The init is outside of the job's
    cgroup, so it does not count towards the job's limits.

    The kernel refuses a new /proc in a user namespace if files of the present one are hidden, as in
    containers (`mount_too_revealing` in fs/namespace.c).
    """
    exec_end, init_end = os.pipe2(os.O_CLOEXEC)
    pid = clone.shared_pid()
    init = clone.fork_sibling(pid)
    if init == 0:
        try:
            announce(pid.value)
            os.setpgid(0, 0)
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)
            prctl(_SET_PDEATHSIG, signal.SIGKILL)
            if with_proc and (refused := _mount_proc()):
                os.write(init_end, b"%c%c" % (_WITHOUT_PROC, refused))
            os.chdir("/")
            null = os.open(os.devnull, os.O_RDWR)
            for standard in range(3):
                os.dup2(null, standard)
            if untraceable:
                user_namespace.keep_untraceable()
            os.execv("/bin/sleep", ["sleep", "infinity"])  # noqa: S606
        except OSError as error:
            os.write(init_end, b"%c%c" % (_NOT_STARTED, error.errno or 0))
        finally:
            os._exit(127)
    os.close(init_end)
    reports = {}
    while report := os.read(exec_end, 2):
        reports[report[0]] = report[1]
    os.close(exec_end)
    if code := reports.get(_NOT_STARTED):
        raise OSError(code, os.strerror(code))
    return init, reports.get(_WITHOUT_PROC, 0)


def _mount_proc() -> int:
    """Mount /proc; return the errno if the kernel refuses.

    Raises:
        OSError: the host is exhausted.
    """
    try:
        private_mounts.mount_proc()
    except OSError as error:
        if is_passing(error.errno):
            raise
        return error.errno or 0
    return 0


def _forbid_privileges() -> None:
    """Deny privileges to all programs that are executed later, as root or by file (capabilities(7))."""
    with contextlib.suppress(PermissionError):  # only root can empty the set
        empty_bounding_set()
    prctl(_SET_NO_NEW_PRIVS, 1)
