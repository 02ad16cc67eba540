"""A job's script: tries system calls that only administrators need, and prints the result of each.

The output has one line per attempt: its name, and `OK` or the name of the error. With capabilities, some
attempts would succeed and change the host. The script therefore runs only in a process that has none.
"""

import ctypes
import errno
import mmap
import os
import re
import signal
import struct
import sys
from pathlib import Path

libc = ctypes.CDLL(None, use_errno=True)

# x86-64, 64-bit ARM
NUMBERS = {
    "mount": (165, 40),
    "umount2": (166, 39),
    "setns": (308, 268),
    "unshare": (272, 97),
    "clone": (56, 220),
    "clone3": (435, 435),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "kexec_load": (246, 104),
    "init_module": (175, 105),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "settimeofday": (164, 170),
    "open_by_handle_at": (304, 265),
    "personality": (135, 92),
    "pivot_root": (155, 41),
    "open_tree": (428, 428),
    "fsopen": (430, 430),
    "move_pages": (279, 239),
    "syslog": (103, 116),
    "quotactl": (179, 60),
    "fanotify_init": (300, 262),
    "socket": (41, 198),
    "sethostname": (170, 161),
}
COLUMN = 0 if os.uname().machine == "x86_64" else 1

NEW_USER = 0x10000000
NEW_TIME = 0x80

ATTEMPTS: dict[str, tuple[object, ...]] = {
    "mount": ("mount", b"none", b"/tmp", b"tmpfs", 0, 0),
    "umount2": ("umount2", b"/tmp", 2),
    "setns": ("setns", 0, 0),
    "unshare a user namespace": ("unshare", NEW_USER),
    "unshare a time namespace": ("unshare", NEW_USER | NEW_TIME),
    "clone a user namespace": ("clone", NEW_USER | signal.SIGCHLD, 0, 0, 0, 0),
    "clone3": ("clone3", struct.pack("11Q", NEW_USER, 0, 0, 0, signal.SIGCHLD, *[0] * 6), 88),
    "add_key": ("add_key", b"user", b"name", b"payload", 7, -3),
    "request_key": ("request_key", b"user", b"name", 0, 0),
    "keyctl": ("keyctl", 0, -3, 0),
    "bpf": ("bpf", 0, bytes(64), 64),
    "perf_event_open": ("perf_event_open", struct.pack("IIQ", 1, 64, 0) + bytes(48), 0, -1, -1, 0),
    "userfaultfd": ("userfaultfd", 1),
    "io_uring_setup": ("io_uring_setup", 1, ctypes.create_string_buffer(256)),
    "kexec_load": ("kexec_load", 0, 0, 0, 0),
    "init_module": ("init_module", 0, 0, b""),
    "reboot": ("reboot", 0xFEE1DEAD, 672274793, 0x89ABCDEF, 0),
    "swapon": ("swapon", b"/tmp", 0),
    "settimeofday": ("settimeofday", 0, 0),
    "open_by_handle_at": ("open_by_handle_at", -100, struct.pack("Ii", 8, 1) + bytes(8), 0),
    "personality ADDR_NO_RANDOMIZE": ("personality", 0x40000),
    "pivot_root": ("pivot_root", b"/", b"/"),
    "open_tree": ("open_tree", -100, b"/tmp", 0),
    "fsopen": ("fsopen", b"tmpfs", 0),
    "move_pages": ("move_pages", 0, 0, 0, 0, 0, 0),
    "syslog": ("syslog", 10, 0, 0),
    "quotactl": ("quotactl", 0x800007 << 8, b"/dev/null", 0, 0),
    "fanotify_init": ("fanotify_init", 0x200, 0),
    "socket AF_VSOCK": ("socket", 40, 1, 0),
    "socket AF_ALG": ("socket", 38, 5, 0),
    "socket of an unknown family": ("socket", 99, 1, 0),
    "sethostname": ("sethostname", b"", -1),
    "x32 getpid": (0x40000000 + 39,),
    "a later system call": (4000,),
}

I386_UNSHARE, I386_SOCKETCALL, I386_GETPID = 310, 102, 20


def attempt(number: int, *arguments: object) -> str:
    """Return the result of a system call."""
    values = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    returned = libc.syscall(ctypes.c_long(number), *values)
    return described(-ctypes.get_errno() if returned < 0 else returned)


def described(returned: int) -> str:
    """Return the name of an error that a system call returned, or `OK`."""
    return errno.errorcode[-returned] if returned < 0 else "OK"


def in_a_child(number: int, *arguments: object) -> str:
    """Return the result of a system call that can change this process, or the signal that it caused."""
    readable, writable = os.pipe()
    if (child := os.fork()) == 0:
        own = os.getpid()
        result = attempt(number, *arguments)
        if os.getpid() == own:
            os.write(writable, result.encode())
        os._exit(0)
    os.close(writable)
    found = os.read(readable, 64).decode()
    os.close(readable)
    _, status = os.waitpid(child, 0)
    return found or f"signal {os.WTERMSIG(status)}"


def as_32_bit(number: int, *arguments: int) -> int:
    """Return the result of a system call of 32-bit programs, by `int 0x80` on x86-64."""
    first, second = (*arguments, 0, 0)[:2]
    # push rbx; mov eax, number; mov ebx, first; mov ecx, second; int 0x80; pop rbx; ret
    code = struct.pack("<BBIBIBIBBBB", 0x53, 0xB8, number, 0xBB, first, 0xB9, second, 0xCD, 0x80, 0x5B, 0xC3)
    memory = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    memory.write(code)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    return int(ctypes.CFUNCTYPE(ctypes.c_int)(address)())


def low_memory(content: bytes) -> int:
    """Return an address below 4 GiB of a copy of the content."""
    libc.mmap.restype = ctypes.c_void_p
    map_32bit = 0x40
    private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | map_32bit
    address = int(libc.mmap(None, ctypes.c_size_t(4096), mmap.PROT_READ | mmap.PROT_WRITE, private, -1, 0))
    ctypes.memmove(address, content, len(content))
    return address


def capabilities() -> int:
    """Return the capabilities that this process has or can get from its permitted set, as a bit mask."""
    found = re.findall(r"Cap(?:Prm|Eff):\s*([0-9a-f]+)", Path("/proc/self/status").read_text())
    return sum(int(each, 16) for each in found)


def main() -> None:
    """Print all results."""
    if capabilities():
        sys.exit("this process has capabilities and could harm the host; run the script in a job")
    for name, (call, *arguments) in ATTEMPTS.items():
        number = NUMBERS[call][COLUMN] if isinstance(call, str) else int(call)  # type: ignore[call-overload]
        print(f"{name}: {in_a_child(number, *arguments)}", flush=True)
    if os.uname().machine == "x86_64" and os.environ.get("WITH_32_BIT"):
        print("32-bit getpid:", described(as_32_bit(I386_GETPID)), flush=True)
        print("32-bit unshare:", described(as_32_bit(I386_UNSHARE, NEW_USER)), flush=True)
        vsock = low_memory(struct.pack("3I", 40, 1, 0))
        print("32-bit socketcall AF_VSOCK:", described(as_32_bit(I386_SOCKETCALL, 1, vsock)), flush=True)


if __name__ == "__main__":
    main()
