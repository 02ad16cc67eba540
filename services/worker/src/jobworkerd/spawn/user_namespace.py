"""Enters a user namespace, in which a server without root can create the other namespaces of its jobs.

The namespace has one user and one group, those of the server, which keep their numbers. Programs that a job
executes therefore have no capabilities, unlike programs of root in a namespace (user_namespaces(7)).

The fork server loads this module, so it imports little (see `fork_server`).
"""

import ctypes
import errno
import os

from jobworkerd.libc import checked, libc, prctl

_NEW_USER = 0x10000000
"""include/uapi/linux/sched.h"""

# include/uapi/linux/capability.h and prctl.h
_CAPABILITY_VERSION, _SYS_PTRACE = 0x20080522, 19
_AMBIENT, _AMBIENT_RAISE = 47, 2


class _CapabilityHeader(ctypes.Structure):
    """`struct __user_cap_header_struct`."""

    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Capabilities(ctypes.Structure):
    """Two of `struct __user_cap_data_struct`: the lower and the upper half of each set."""

    _fields_ = tuple(
        (name, ctypes.c_uint32)
        for name in ("effective", "permitted", "inheritable", "effective2", "permitted2", "inheritable2")
    )


def enter() -> None:
    """Enter a new user namespace. This process gets all capabilities in it until it calls execve(2).

    A child tries it first. Some hosts, such as Ubuntu 24.04, let a process enter the namespace but not map
    its user. The process could then neither create files nor leave the namespace.

    Raises:
        OSError: the kernel refused, and this process is unchanged. With EAGAIN it is unusable: the host has
            changed since the child tried.
    """
    if code := errno_in_child():
        raise OSError(code, os.strerror(code))
    try:
        _enter()
    except OSError as error:
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN)) from error


def keep_untraceable() -> None:
    """Keep a capability of the namespace over execve(2).

    The init of a job has the job's user, but runs in the server's cgroup. A job that traces it could run code
    there. The kernel refuses to trace a process with more capabilities (ptrace(2), "Ptrace access mode
    checking").

    Raises:
        OSError: this process lacks the capability.
    """
    header, found = _CapabilityHeader(_CAPABILITY_VERSION, 0), _Capabilities()
    checked(libc().capget(ctypes.byref(header), ctypes.byref(found)))
    found.inheritable |= 1 << _SYS_PTRACE
    checked(libc().capset(ctypes.byref(header), ctypes.byref(found)))
    prctl(_AMBIENT, _AMBIENT_RAISE, _SYS_PTRACE)


def _enter() -> None:
    uid, gid = os.geteuid(), os.getegid()
    checked(libc().unshare(_NEW_USER))
    # Without privileges, the kernel accepts a map of groups only if the groups of the process are fixed.
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        with open(f"/proc/self/{name}", "wb", buffering=0) as file:  # noqa: PTH123 - avoids the import of pathlib
            file.write(text.encode())


def errno_in_child() -> int:
    """Return the errno of `enter` in a child process; 0 if it succeeds."""
    child = os.fork()
    if child == 0:
        code = errno.EAGAIN
        try:
            code = _errno_of_enter()
        finally:
            os._exit(code)
    exit_code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return exit_code if exit_code >= 0 else errno.EAGAIN  # killed


def _errno_of_enter() -> int:
    try:
        _enter()
    except OSError as error:
        return error.errno or errno.EPERM
    return 0
