"""What keeps a job from the host, from the server and from other jobs: namespaces, private directories, no
privileges.

All that does not depend on the job is done in a spare process, ahead of time. A part that the kernel
refuses is left out, and told of; whether a job runs without it is not decided here. What reads this is kept
small (see `forkserver`).

The pages behind it are namespaces(7), mount_namespaces(7), pid_namespaces(7), prctl(2) and mount_setattr(2).
"""

import contextlib
import ctypes
import fcntl
import os
import signal
import socket
import struct
from typing import NamedTuple

from jobworkerd import keyring
from jobworkerd.libc import checked, empty_bounding_set, libc, prctl
from jobworkerd.supervisor import clone

HOME = b"/home/job"
"""The job's private directory, where there is a mount namespace."""

# include/uapi/linux/sched.h
_NAMESPACES = {"mount": 0x00020000, "uts": 0x04000000, "ipc": 0x08000000, "pid": 0x20000000}
_NEW_NETWORK = 0x40000000

_SIOCSIFFLAGS, _IFF_UP = 0x8914, 0x1
"""netdevice(7)."""

# include/uapi/linux/mount.h
_RDONLY, _NOSUID, _NODEV, _NOEXEC, _BIND, _REC, _SLAVE = 0x1, 0x2, 0x4, 0x8, 0x1000, 0x4000, 0x80000
_MOUNT_SETATTR = 442
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000

# include/uapi/linux/prctl.h
_SET_PDEATHSIG, _SET_NO_NEW_PRIVS = 1, 38

_PRIVATE = (b"/tmp", b"/var/tmp", b"/dev/shm")


class Isolation(NamedTuple):
    """How jobs are kept apart: the part of the configuration that a spare process needs.

    `namespaces` are of `mount`, `uts`, `ipc` and `pid`; `private_bytes` bounds each private directory;
    `masked` are directories that a job finds empty, `writable` those that stay as they are in a system that
    is read-only.
    """

    namespaces: tuple[str, ...]
    no_new_privileges: bool
    nice: int
    private_bytes: int
    masked: tuple[bytes, ...]
    writable: tuple[bytes, ...]


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


def enter(isolation: Isolation) -> Entered:
    """Isolates this process, and what will be made of it, as far as the kernel allows.

    The init is a child of this process's parent, for that one to kill and reap: all of the namespace ends
    with it.
    """
    refused: dict[str, int] = {}
    for name in isolation.namespaces:
        try:
            checked(libc().unshare(_NAMESPACES[name]))
            if name == "mount":
                _make_private(isolation)
        except OSError as error:
            refused[name] = error.errno or 0
    init = 0
    if "pid" in isolation.namespaces and "pid" not in refused:
        init = _start_init(with_proc="mount" in isolation.namespaces and "mount" not in refused)
    if isolation.no_new_privileges:
        try:
            _give_up_privileges()
        except OSError as error:
            refused["no_new_privileges"] = error.errno or 0
    try:
        keyring.join_new_session()
    except OSError as error:
        refused["session_keyring"] = error.errno or 0
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


def _make_private(isolation: Isolation) -> None:
    """Makes the system read-only, the private directories private, and what is masked empty."""
    # Mounts that the host makes later come in, what is mounted here does not get out.
    _mount(b"none", b"/", None, _REC | _SLAVE)
    writable = [path for path in isolation.writable if os.path.isdir(path)]  # noqa: PTH112
    for path in writable:
        _mount(path, path, None, _BIND)
    _set_attributes(b"/", _AT_RECURSIVE, set_flags=_RDONLY)
    for path in writable:
        _set_attributes(path, 0, clear_flags=_RDONLY)
    size = b"size=%d" % isolation.private_bytes
    _mount(b"tmpfs", b"/home", b"tmpfs", _NOSUID | _NODEV, b"mode=755," + size)
    os.mkdir(HOME, 0o700)  # noqa: PTH102
    for path in _PRIVATE:
        if os.path.isdir(path):  # noqa: PTH112
            _mount(b"tmpfs", path, b"tmpfs", _NOSUID | _NODEV, b"mode=1777," + size)
    for path in isolation.masked:
        if os.path.isdir(path):  # noqa: PTH112
            _mount(b"tmpfs", path, b"tmpfs", _RDONLY | _NOSUID | _NODEV | _NOEXEC, b"mode=000,size=4k")


def _start_init(*, with_proc: bool) -> int:
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
                _mount(b"proc", b"/proc", b"proc", _NOSUID | _NODEV | _NOEXEC)
            os.chdir("/")
            null = os.open(os.devnull, os.O_RDWR)
            for standard in range(3):
                os.dup2(null, standard)
            os.execv("/bin/sleep", ["sleep", "infinity"])  # noqa: S606
        finally:
            os._exit(127)
    os.close(at_work)
    os.read(begun, 1)
    os.close(begun)
    return init


def _give_up_privileges() -> None:
    """No program that is executed from here on gets any, as root or by its file (capabilities(7))."""
    with contextlib.suppress(PermissionError):  # a server that is not root has none to give
        empty_bounding_set()
    prctl(_SET_NO_NEW_PRIVS, 1)


def _mount(source: bytes, target: bytes, kind: bytes | None, flags: int, data: bytes | None = None) -> None:
    checked(libc().mount(source, target, kind, ctypes.c_ulong(flags), data))


class _Attributes(ctypes.Structure):
    """`struct mount_attr` of mount_setattr(2)."""

    _fields_ = tuple((name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "userns_fd"))


def _set_attributes(path: bytes, flags: int, *, set_flags: int = 0, clear_flags: int = 0) -> None:
    attributes = _Attributes(set=set_flags, clear=clear_flags)
    size = ctypes.c_size_t(ctypes.sizeof(attributes))
    checked(libc().syscall(_MOUNT_SETATTR, _AT_FDCWD, path, flags, ctypes.byref(attributes), size))
