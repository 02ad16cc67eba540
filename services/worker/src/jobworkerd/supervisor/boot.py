"""The boot of the host: its id, and the time since then."""

import time
from pathlib import Path

_BOOT_ID_FILE = Path("/proc/sys/kernel/random/boot_id")


def boot_id() -> str:
    """Return the id of this boot of the host."""
    return _BOOT_ID_FILE.read_text().strip()


def boot_time() -> float:
    """Return the seconds since the boot, including those in which the host was suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
