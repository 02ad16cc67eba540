"""Checks whether a server of this user can create user namespaces, and finds out why it cannot."""

import os
from collections.abc import Iterator
from pathlib import Path

from jobworkerd.cgroup import mounts
from jobworkerd.spawn import user_namespace

_SETTINGS = (
    ("kernel.unprivileged_userns_clone", "0", "1"),
    ("user.max_user_namespaces", "0", "65536"),
    ("kernel.apparmor_restrict_unprivileged_userns", "1", "0"),
)
"""The settings of hosts that forbid user namespaces: name, forbidding value and permitting value."""

_SYSCTL_FILE = "/etc/sysctl.d/60-jobworker.conf"
_AS_ROOT = "start the server as root"

_HIDING_NOTHING = {Path("/proc"), Path("/proc/sys/fs/binfmt_misc")}
"""Mounts of an ordinary host."""


def problem(proc: Path) -> str:
    """Return why this user cannot create the namespaces of jobs, and what to do; empty if it can."""
    if not (proc / "self/ns/user").is_symlink():
        return f"this kernel has no user namespaces; boot a kernel with CONFIG_USER_NS, or {_AS_ROOT}"
    if code := user_namespace.errno_in_child():
        reasons = list(_forbidding(proc / "sys")) or [_unknown_reason(code)]
        return "; ".join(reasons)
    if hidden := next(_mounts_below(proc), None):
        return (
            f"{hidden} is hidden, as in a container, and the kernel then refuses another /proc; "
            "run the server outside of the container, or start the container with a complete /proc"
        )
    return ""


def _forbidding(sys: Path) -> Iterator[str]:
    for name, forbidding, permitting in _SETTINGS:
        file = sys / name.replace(".", "/")
        if file.exists() and file.read_text().strip() == forbidding:
            fix = f"write `{name} = {permitting}` to {_SYSCTL_FILE} as root and run `sysctl --system`"
            yield f"{name} is {forbidding}; {fix}"


def _unknown_reason(code: int) -> str:
    return (
        f"the kernel refuses a user namespace ({os.strerror(code)}); permit it in the system call filter and "
        f"the security module of the container or service in which the server runs, or {_AS_ROOT}"
    )


def _mounts_below(proc: Path) -> Iterator[Path]:
    points = (mount.point for mount in mounts.mounts(proc))
    return (point for point in points if point.parts[:2] == ("/", "proc") and point not in _HIDING_NOTHING)
