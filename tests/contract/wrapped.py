"""Starts servers with another session keyring or other mounts."""

import stat
import subprocess
import sys
from pathlib import Path

from live import Server

BIN = Path(sys.executable).parent


def wrapped(directory: Path, first: str) -> Path:
    """Return a directory with a `jobworkerd` that runs lines of Python before it executes the server.

    The server inherits the changes. The lines can use `ctypes`, `os` and `libc`.
    """
    script = directory / "jobworkerd"
    script.write_text(
        f"#!{sys.executable}\n"
        "import ctypes, os, sys\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        f"{first}\n"
        f"os.execv({str(BIN / 'jobworkerd')!r}, ['jobworkerd', *sys.argv[1:]])\n"
    )
    script.chmod(stat.S_IRWXU)
    return directory


def with_line(directory: Path, path: str, line: str) -> str:
    """Return lines for `wrapped` that append a line to the server's view of a file."""
    source = directory / Path(path).name
    source.write_text(f"{Path(path).read_text()}{line}\n")
    return own_mounts() + f"libc.mount(b'{source}', b'{path}', None, 0x1000, None)\n"


def own_mounts() -> str:
    """Return lines for `wrapped` that give the server a mount namespace with shared propagation.

    Later mounts propagate to namespaces made from it, as on hosts that systemd set up.
    """
    private, shared, recursive = 0x40000, 0x100000, 0x4000
    flags = (private | recursive, shared | recursive)
    mounts = (f"libc.mount(None, b'/', None, ctypes.c_ulong({each}), None)\n" for each in flags)
    return "libc.unshare(0x20000)\n" + "".join(mounts)


def mount(server: Server, *arguments: str | Path) -> None:
    """Run mount(8) in the mount namespace of a running server."""
    assert server.process
    namespace = f"--mount=/proc/{server.process.pid}/ns/mnt"
    subprocess.run(["nsenter", namespace, "mount", *arguments], check=True)


def seen(server: Server, path: Path) -> Path:
    """Return a path that reads a file as the server sees it, mounts included."""
    assert server.process
    return Path(f"/proc/{server.process.pid}/root") / path.relative_to("/")
