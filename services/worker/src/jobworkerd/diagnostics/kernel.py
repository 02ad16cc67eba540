"""Which Linux this is."""

import os
import re


def is_at_least(version: tuple[int, int]) -> bool:
    """True if the running kernel is of that version or newer."""
    release = re.match(r"(\d+)\.(\d+)", os.uname().release)
    return release is not None and (int(release[1]), int(release[2])) >= version
