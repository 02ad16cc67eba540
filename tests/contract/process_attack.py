"""A job's script: attacks the processes in its arguments, and prints each attack that succeeds.

The attacks are harmless for a process that they reach, except that ptrace(2) stops it until this script ends.
"""

import ctypes
import errno
import os
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path

libc = ctypes.CDLL(None, use_errno=True)

PTRACE_SEIZE = 0x4206


def seize(pid: int) -> None:
    """Trace a process."""
    if libc.ptrace(PTRACE_SEIZE, pid, None, None):
        raise OSError(ctypes.get_errno(), "ptrace")


def read_memory(pid: int) -> None:
    """Read from the memory of a process, at an address of this one."""
    buffer = ctypes.create_string_buffer(8)
    vector = (ctypes.c_void_p * 2)(ctypes.addressof(buffer), len(buffer))
    one, no_flags = ctypes.c_ulong(1), ctypes.c_ulong(0)
    copied = libc.process_vm_readv(pid, vector, one, vector, one, no_flags)
    # After EFAULT, the kernel allowed the access, but the process has no memory at this address.
    if copied < 0 and ctypes.get_errno() != errno.EFAULT:
        raise OSError(ctypes.get_errno(), "process_vm_readv")


def open_file(name: str, flags: int = os.O_RDONLY) -> Callable[[int], None]:
    """Return the attack that opens a file of a process in /proc."""
    return lambda pid: os.close(os.open(f"/proc/{pid}/{name}", flags))


ATTACKS: dict[str, Callable[[int], object]] = {
    "signal": lambda pid: os.kill(pid, signal.SIGCONT),
    "signal by descriptor": lambda pid: signal.pidfd_send_signal(os.pidfd_open(pid), signal.SIGCONT),
    "trace": seize,
    "read memory": read_memory,
    "open memory": open_file("mem"),
    "open memory for writing": open_file("mem", os.O_RDWR),
    "environment": open_file("environ"),
    "addresses": open_file("maps"),
    "root directory": lambda pid: list(Path(f"/proc/{pid}/root/").iterdir()),
    "descriptors": lambda pid: list(Path(f"/proc/{pid}/fd").iterdir()),
    "program": lambda pid: Path(f"/proc/{pid}/exe").readlink(),
    "limits": lambda pid: resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0)),
    "cores": lambda pid: os.sched_setaffinity(pid, {0}),
    "priority": lambda pid: os.setpriority(os.PRIO_PROCESS, pid, 19),
    "OOM score": open_file("oom_score_adj", os.O_WRONLY),
}


def main(pids: list[int]) -> None:
    """Print the attacks that succeed."""
    for pid in pids:
        for name, attack in ATTACKS.items():
            try:
                attack(pid)
            except OSError:
                continue
            print(f"{name}: {pid}", flush=True)
    print("done")


if __name__ == "__main__":
    main([int(each) for each in sys.argv[1:]])
