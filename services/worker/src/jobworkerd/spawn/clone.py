"""Creates processes with clone3(2), which the standard library lacks.

CLONE_PARENT makes the new process a sibling of the caller. The parent of the fork server is so the parent of
the processes that the fork server forks (see `Parent`).
"""

import ctypes
import mmap
import os

from jobworkerd.libc import checked, libc

_CLONE3 = 435
"""The number of the system call on all architectures except Alpha (include/uapi/asm-generic/unistd.h)."""

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


def shared_pid() -> ctypes.c_int:
    """Return a variable in memory that this process shares with those that it forks later.

    Raises:
        OSError: the host is out of memory.
    """
    return ctypes.c_int.from_buffer(mmap.mmap(-1, mmap.PAGESIZE))


def fork_sibling(tid: ctypes.c_int | None = None) -> int:
    """Fork a child of the caller's parent. Return its PID, and 0 in the new process.

    The program must have one thread. Handlers of pthread_atfork(3) do not run. The kernel stores the PID in
    `tid` before the new process runs. In a new PID namespace, the process cannot find this PID by itself.

    Raises:
        OSError: the host is out of processes, or forbids clone3.
    """
    pid, _ = _clone(0, 0, tid)
    return pid


def vfork_sibling(cgroup: int | None) -> int:
    """Create a process that runs in the caller's memory. Return only in the new process, with its PID.

    The process is born in the cgroup of which `cgroup` is a descriptor of the directory. The kernel suspends
    the caller until the new process calls execve(2) or ends, as with vfork(2). The new process must kill the
    caller before that, because it changes the caller's stack. The PID is the one in the caller's PID
    namespace.

    Raises:
        OSError: in the caller: the host is out of processes, or the process cannot be in that cgroup.
    """
    returned, pid = _clone(_VM | _VFORK | (0 if cgroup is None else _INTO_CGROUP), cgroup or 0)
    if returned:
        # The new process was killed before it could kill this one.
        os._exit(127)
    return pid


def _clone(flags: int, cgroup: int, tid: ctypes.c_int | None = None) -> tuple[int, int]:
    tid = ctypes.c_int(0) if tid is None else tid
    # With CLONE_PARENT the new process has the caller's exit signal, and exit_signal must be 0.
    arguments = _Arguments(
        flags=_PARENT | _PARENT_SETTID | flags, parent_tid=ctypes.addressof(tid), cgroup=cgroup
    )
    returned = checked(libc().syscall(_CLONE3, ctypes.byref(arguments), ctypes.sizeof(arguments)))
    return returned, tid.value
