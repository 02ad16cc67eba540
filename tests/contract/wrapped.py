"""A server in surroundings of the tests' own: another session keyring, other mounts."""

import stat
import subprocess
import sys
from pathlib import Path

from live import Server

BIN = Path(sys.executable).parent


def wrapped(directory: Path, first: str) -> Path:
    """Returns a directory with a `jobworkerd` that runs some lines of Python before the server.

    What the lines change is inherited by the server. They find `ctypes`, `os` and `libc`.
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
    """Returns lines for `wrapped` that give the server one of the host's files with one line more."""
    source = directory / Path(path).name
    source.write_text(f"{Path(path).read_text()}{line}\n")
    return own_mounts() + f"libc.mount(b'{source}', b'{path}', None, 0x1000, None)\n"


def own_mounts() -> str:
    """Returns lines for `wrapped` that give the server a mount namespace whose mounts are shared.

    Namespaces that are made of it get its later mounts, as on hosts that systemd set up.
    """
    private, shared, recursive = 0x40000, 0x100000, 0x4000
    flags = (private | recursive, shared | recursive)
    mounts = (f"libc.mount(None, b'/', None, ctypes.c_ulong({each}), None)\n" for each in flags)
    return "libc.unshare(0x20000)\n" + "".join(mounts)


def mount(server: Server, *arguments: str | Path) -> None:
    """Mounts something where the server runs, while it does (mount(8))."""
    assert server.process
    namespace = f"--mount=/proc/{server.process.pid}/ns/mnt"
    subprocess.run(["nsenter", namespace, "mount", *arguments], check=True)


def seen(server: Server, path: Path) -> Path:
    """Returns a path by which to read what the server has there, mounts included."""
    assert server.process
    return Path(f"/proc/{server.process.pid}/root") / path.relative_to("/")
