"""Mounts a job's own /dev: the devices that every program needs, and those of `isolation.devices`.

The fork server loads this module, so it imports little (see `fork_server`).
"""

import errno
import os
import stat

from jobworkerd.spawn import mounting

DEV = b"/dev"

_NODES = {
    b"null": (1, 3),
    b"zero": (1, 5),
    b"full": (1, 7),
    b"random": (1, 8),
    b"urandom": (1, 9),
    b"tty": (5, 0),
}
"""The numbers of devices, Documentation/admin-guide/devices.txt."""

_LINKS = {
    b"ptmx": b"pts/ptmx",
    b"fd": b"/proc/self/fd",
    b"stdin": b"/proc/self/fd/0",
    b"stdout": b"/proc/self/fd/1",
    b"stderr": b"/proc/self/fd/2",
}

_TERMINALS = b"newinstance,ptmxmode=0666,mode=0620"
_GROUP = b",gid=5"
"""Older C libraries expect that terminals belong to the group tty, whose GID is 5 on all distributions."""


def make(devices: tuple[bytes, ...]) -> None:
    """Mount /dev with its terminals, and an empty directory /dev/shm.

    `devices` are further files or directories in /dev of the host. Missing ones are ignored. The caller can
    still create files in /dev.

    Raises:
        OSError: the kernel refused.
    """
    host = os.open(DEV, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        mounting.mount(b"tmpfs", DEV, b"tmpfs", mounting.NOSUID | mounting.NOEXEC, b"mode=755,size=64k")
        for name, numbers in _NODES.items():
            _make_node(host, name, numbers)
        for path in devices:
            _copy(host, path)
    finally:
        os.close(host)
    for name, target in _LINKS.items():
        os.symlink(target, DEV + b"/" + name)  # noqa: PTH211
    for directory in (b"/dev/shm", b"/dev/pts"):
        os.mkdir(directory)  # noqa: PTH102
    _mount_terminals(_TERMINALS + _GROUP)


def _mount_terminals(options: bytes) -> None:
    try:
        mounting.mount(b"devpts", b"/dev/pts", b"devpts", mounting.NOSUID | mounting.NOEXEC, options)
    except OSError as error:
        # In a user namespace, this group can be missing.
        if error.errno != errno.EINVAL or options == _TERMINALS:
            raise
        _mount_terminals(_TERMINALS)


def _make_node(host: int, name: bytes, numbers: tuple[int, int]) -> None:
    """Create a device, or mount the host's one if this process is in a container that refuses mknod(2)."""
    path = DEV + b"/" + name
    try:
        os.mknod(path, stat.S_IFCHR, os.makedev(*numbers))
    except PermissionError:
        _copy(host, path)
    else:
        os.chmod(path, 0o666)  # noqa: PTH101, S103 - the umask does not apply


def _copy(host: int, path: bytes) -> None:
    """Mount a file or a directory of the host's /dev, with the mounts below it."""
    name = path.removeprefix(DEV + b"/")
    try:
        is_directory = stat.S_ISDIR(os.stat(name, dir_fd=host).st_mode)
        tree = mounting.open_tree(name, directory=host, recursive=True)
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.ENOTDIR}:
            return
        raise
    os.makedirs(path if is_directory else os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120
    if not is_directory:
        os.mknod(path, stat.S_IFREG)
    mounting.move(tree, path)
