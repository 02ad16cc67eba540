"""clone3(2), which the standard library lacks: processes that are the caller's siblings.

CLONE_PARENT makes the new process a child of the caller's parent: the supervisor has its jobs forked for
it, and still is who waits for them.
"""

import ctypes
import os

from jobworkerd.libc import checked, libc

_CLONE3 = 435
"""The system call's number, the same on all architectures but Alpha (include/uapi/asm-generic/unistd.h)."""

# include/uapi/linux/sched.h
_VM = 0x100
_VFORK = 0x4000
_PARENT = 0x8000
_PARENT_SETTID = 0x100000
_INTO_CGROUP = 0x200000000


class _Arguments(ctypes.Structure):
    """`struct clone_args` of clone3(2)."""

    _fields_ = tuple(
        (name, ctypes.c_uint64)
        for name in (
            "flags",
            "pidfd",
            "child_tid",
            "parent_tid",
            "exit_signal",
            "stack",
            "stack_size",
            "tls",
            "set_tid",
            "set_tid_size",
            "cgroup",
        )
    )


def fork_sibling() -> int:
    """Forks as os.fork does, but for the caller's parent; returns the new process's id, and 0 in that
    process.

    For a program of one thread that has no handler of pthread_atfork(3) to run.

    Raises:
        OSError: there can be no other process, or this host forbids clone3.
    """
    pid, _ = _clone(0, 0)
    return pid


def vfork_sibling(cgroup: int | None) -> int:
    """Makes a process that runs in the caller's memory, and returns there only: its process id.

    `cgroup` is a descriptor of the directory of the cgroup that it is born in. The caller waits in the
    kernel until the new process executes a program or ends, as with vfork(2); and has to be dead by then:
    its stack is no longer what it was. The id is the one that the caller's namespace has for the process.

    Raises:
        OSError: in the caller: there can be no such process, or it cannot be in that cgroup.
    """
    returned, pid = _clone(_VM | _VFORK | (0 if cgroup is None else _INTO_CGROUP), cgroup or 0)
    if returned:
        # Somebody killed the new process before it could kill this one.
        os._exit(127)
    return pid


def _clone(flags: int, cgroup: int) -> tuple[int, int]:
    tid = ctypes.c_int(0)
    # With CLONE_PARENT the signal at the end is the caller's own, and may not be named.
    arguments = _Arguments(
        flags=_PARENT | _PARENT_SETTID | flags, parent_tid=ctypes.addressof(tid), cgroup=cgroup
    )
    returned = checked(libc().syscall(_CLONE3, ctypes.byref(arguments), ctypes.sizeof(arguments)))
    return returned, tid.value
