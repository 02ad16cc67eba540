"""Hides files of /proc and /sys from a job, and makes the settings of the kernel read-only.

The lists are those of Docker (`DefaultLinuxSpec` in github.com/moby/moby), with further directories of /sys.
Most of these files belong to root, so they matter most for jobs with `run_as = "server"`.

The fork server loads this module, so it imports little (see `fork_server`).
"""

import errno
import os

from jobworkerd.spawn import mounting

MASKED_DIRECTORIES = (
    b"/sys/devices/virtual/powercap",
    b"/sys/firmware",
    b"/sys/fs/bpf",
    b"/sys/fs/pstore",
    b"/sys/kernel/debug",
    b"/sys/kernel/tracing",
)
"""Directories of /sys that are empty for a job."""

_MASKED = (
    b"/proc/acpi",
    b"/proc/asound",
    b"/proc/interrupts",
    b"/proc/kcore",
    b"/proc/keys",
    b"/proc/latency_stats",
    b"/proc/sched_debug",
    b"/proc/scsi",
    b"/proc/timer_list",
    b"/proc/timer_stats",
)

_READ_ONLY = (b"/proc/bus", b"/proc/fs", b"/proc/irq", b"/proc/sys", b"/proc/sysrq-trigger")

_MISSING = {errno.ENOENT, errno.ENOTDIR}


def mask(paths: tuple[bytes, ...]) -> None:
    """Mount one empty directory, without permissions, at each path that is a directory. Ignore other paths.

    Raises:
        OSError: the kernel refused.
    """
    first = b""
    for path in paths:
        if not os.path.isdir(path):  # noqa: PTH112
            continue
        if first:
            mounting.move(mounting.open_tree(first), path)
        else:
            flags = mounting.RDONLY | mounting.SAFE | mounting.NOEXEC
            mounting.mount(b"tmpfs", path, b"tmpfs", flags, b"mode=000,size=4k")
            first = path


def protect_proc() -> None:
    """Hide files of /proc, and make others read-only. This process needs its own /dev.

    Raises:
        OSError: the kernel refused.
    """
    mask(_MASKED)
    for path in _MASKED:
        if os.path.exists(path) and not os.path.isdir(path):  # noqa: PTH110, PTH112
            mounting.move(mounting.open_tree(b"/dev/null"), path)
    for path in _READ_ONLY:
        try:
            mounting.move(mounting.open_tree(path, recursive=True), path)
        except OSError as error:
            if error.errno not in _MISSING:
                raise
        else:
            mounting.set_read_only(path)
