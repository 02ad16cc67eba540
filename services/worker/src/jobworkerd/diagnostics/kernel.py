"""The version of the running kernel."""

import os
import re


def is_at_least(version: tuple[int, int]) -> bool:
    """Return whether the running kernel has at least this version."""
    release = re.match(r"(\d+)\.(\d+)", os.uname().release)
    return release is not None and (int(release[1]), int(release[2])) >= version
