"""Enables controllers for the jobs' cgroups, and explains why a controller cannot be enabled."""

import errno
import os
from pathlib import Path

from jobworkerd.cgroup import files
from jobworkerd.cgroup.mounts import v1_controllers

CONTROLLERS = ("cpu", "cpuset", "memory", "io", "pids")

ONLY_V2 = "boot with systemd.unified_cgroup_hierarchy=1 (or cgroup_no_v1=all)"

DELEGATE = "start the server as root, or with `systemd-run --user --scope -p Delegate=yes`"

_USERS = (
    "as root, write `[Service]` and `Delegate=cpu cpuset io memory pids` in two lines to "
    "/etc/systemd/system/user@.service.d/delegate.conf, run `systemctl daemon-reload`, and log in again"
)

_USERS = "user.slice"
"""The cgroup of systemd for all users. A user has only the controllers that systemd delegates."""

_NO_PROCESSES = "move its processes to another cgroup"
"""A cgroup with processes cannot enable controllers for its children."""


def delegation(cgroup: Path) -> str:
    """Return what to do if this user cannot enable a controller in a cgroup."""
    if _USERS not in cgroup.parts:
        return DELEGATE
    return (
        "as root, write the lines `[Service]` and `Delegate=cpu cpuset io memory pids` to "
        "/etc/systemd/system/user@.service.d/delegate.conf, run `systemctl daemon-reload`, and run "
        f"`systemctl restart user@{os.getuid()}.service`, which ends all services of this user"
    )


def unavailable(controller: str, mount: Path, cgroup: Path) -> str:
    """Return why the controller cannot be enabled for a cgroup's children; empty if it can."""
    if controller in files.read(cgroup, "cgroup.controllers").split():
        return ""
    if controller in v1_controllers():
        return f"the {controller} controller is held by cgroup v1; {ONLY_V2}"
    if controller not in files.read(mount, "cgroup.controllers").split():
        return f"this kernel has no {controller} controller for cgroup v2; boot a kernel with it"
    return f"the {controller} controller is not delegated to {cgroup}; {delegation(cgroup)}"


def enable(controller: str, mount: Path, cgroup: Path) -> str:
    """Enable the controller from the mount down to a cgroup's children; return why it cannot."""
    path = [cgroup, *cgroup.parents]
    for each in reversed(path[: path.index(mount) + 1]):
        if controller in files.read(each, "cgroup.subtree_control").split():
            continue
        if why := unavailable(controller, mount, each):
            return why
        try:
            files.write(each, "cgroup.subtree_control", f"+{controller}")
        except OSError as error:
            remedy = _NO_PROCESSES if error.errno == errno.EBUSY else delegation(cgroup)
            return f"the {controller} controller cannot be enabled in {each} ({error.strerror}); {remedy}"
    return ""
