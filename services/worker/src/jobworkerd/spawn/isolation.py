"""What keeps a job from the host, from the server and from other jobs: namespaces, private directories, no
privileges.

All that does not depend on the job is done in a spare process, ahead of time. A part that the kernel
refuses is left out, and told of; whether a job runs without it is not decided here. What reads this is kept
small (see `forkserver`).

The pages behind it are namespaces(7), pid_namespaces(7) and prctl(2); see `private_mounts` for the mounts.
"""

import contextlib
import fcntl
import os
import signal
import socket
import struct
from collections.abc import Callable
from typing import NamedTuple

from jobworkerd import keyring
from jobworkerd.exhaustion import is_passing
from jobworkerd.libc import checked, empty_bounding_set, libc, prctl
from jobworkerd.spawn import clone, private_mounts
from jobworkerd.spawn.private_mounts import View

# include/uapi/linux/sched.h
_NAMESPACES = {"mount": 0x00020000, "uts": 0x04000000, "ipc": 0x08000000, "pid": 0x20000000}
_NEW_NETWORK = 0x40000000

_SIOCSIFFLAGS, _IFF_UP = 0x8914, 0x1
"""netdevice(7)."""

# include/uapi/linux/prctl.h
_SET_PDEATHSIG, _SET_NO_NEW_PRIVS = 1, 38


class Isolation(NamedTuple):
    """How jobs are kept apart: the part of the configuration that a spare process needs.

    `namespaces` are of `mount`, `uts`, `ipc` and `pid`; with the first of them a job has a `view` of its own
    of the host's file systems.
    """

    namespaces: tuple[str, ...]
    no_new_privileges: bool
    nice: int
    view: View = View()


class Identity(NamedTuple):
    """The user that a job runs as; `exclusive` says that nothing but this job runs as that user."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    exclusive: bool = False


class Entered(NamedTuple):
    """What became of it: the process 1 of the PID namespace (0: there is none), and errnos by part."""

    init: int
    refused: dict[str, int]


def enter(isolation: Isolation, announce: Callable[[int], None]) -> Entered:
    """Isolates this process, and what will be made of it, as far as the kernel allows.

    The init is a child of this process's parent, for that one to kill and reap: all of the namespace ends
    with it. `announce` is called with its id as soon as there is one.

    Raises:
        OSError: the init cannot be started, or the host is exhausted, which is no reason to run a job without
            a part of its isolation.
    """
    refused: dict[str, int] = {}
    for name in isolation.namespaces:
        try:
            checked(libc().unshare(_NAMESPACES[name]))
            if name == "mount":
                refused |= private_mounts.make(isolation.view)
        except OSError as error:
            refused[name] = error.errno or 0
    init = 0
    if "pid" in isolation.namespaces and "pid" not in refused:
        with_proc = "mount" in isolation.namespaces and "mount" not in refused
        init = _start_init(announce, with_proc=with_proc)
    if isolation.no_new_privileges:
        try:
            _give_up_privileges()
        except OSError as error:
            refused["no_new_privileges"] = error.errno or 0
    try:
        keyring.join_new_session()
    except OSError as error:
        refused["session_keyring"] = error.errno or 0
    if lacking := next(filter(is_passing, refused.values()), 0):
        raise OSError(lacking, os.strerror(lacking))
    return Entered(init, refused)


def leave_network() -> None:
    """Goes to a network namespace of its own, which has a loopback interface and no other.

    Raises:
        OSError: the kernel refuses.
    """
    checked(libc().unshare(_NEW_NETWORK))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh", b"lo", _IFF_UP))


def become_user(identity: Identity, home: bytes) -> None:
    """Becomes another user, who owns the private directory (empty: the job has none) and the output's pipes.

    The pipes belong to the user so that /dev/stdout, /dev/stderr and /proc/self/fd/1 can be opened.

    Raises:
        OSError: this process may not.
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
        keyring.clear_left_over(uid)
    # A user whose quota of keys is used up keeps the spare process's keyring, which no other job has either.
    with contextlib.suppress(OSError):
        keyring.join_new_session()


def _start_init(announce: Callable[[int], None], *, with_proc: bool) -> int:
    """Starts the namespace's process 1 and returns its id.

    It sleeps. That is enough of an init: the kernel reaps the children of whoever ignores SIGCHLD, and
    signals go to the job's own processes, whose parent is the supervisor. It is not one of the job's, so
    neither its memory nor its place among the processes counts as the job's.
    """
    begun, at_work = os.pipe2(os.O_CLOEXEC)
    init = clone.fork_sibling()
    if init == 0:
        try:
            os.setpgid(0, 0)
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)
            prctl(_SET_PDEATHSIG, signal.SIGKILL)
            if with_proc:
                private_mounts.mount_proc()
            os.chdir("/")
            null = os.open(os.devnull, os.O_RDWR)
            for standard in range(3):
                os.dup2(null, standard)
            os.execv("/bin/sleep", ["sleep", "infinity"])  # noqa: S606
        except OSError as error:
            os.write(at_work, b"%d" % (error.errno or 0))
        finally:
            os._exit(127)
    os.close(at_work)
    announce(init)
    failure = os.read(begun, 16)
    os.close(begun)
    if failure:
        raise OSError(int(failure), os.strerror(int(failure)))
    return init


def _give_up_privileges() -> None:
    """No program that is executed from here on gets any, as root or by its file (capabilities(7))."""
    with contextlib.suppress(PermissionError):  # a server that is not root has none to give
        empty_bounding_set()
    prctl(_SET_NO_NEW_PRIVS, 1)
