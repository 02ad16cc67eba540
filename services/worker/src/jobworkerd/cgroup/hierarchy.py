"""Where the jobs' cgroups go: the base directory, and which controllers are in force below it.

A host may lack any part of what limits need. Nothing here fails for that: each missing part has a
sentence that says why it is missing and what to do, and that sentence reaches the records of the jobs.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from jobworkerd.cgroup import files
from jobworkerd.cgroup.mounts import cgroup2_mount, own_cgroup, v1_controllers

CONTROLLERS = ("cpu", "cpuset", "memory", "io", "pids")

ONLY_V2 = "boot with systemd.unified_cgroup_hierarchy=1 (or cgroup_no_v1=all)"

_USUAL_MOUNT = Path("/sys/fs/cgroup")
_LEAF = "supervisor"
_DELEGATE = "start the server as root, or with `systemd-run --user --scope -p Delegate=yes`"


class BadBase(ValueError):
    """Raised when the configured base cannot be a cgroup on any host like this one."""


@dataclass(frozen=True)
class Hierarchy:
    """A base directory that jobs' cgroups can be made in, or the reason why there is none.

    `missing` has, for each controller that does not work below the base, a sentence with the reason.
    `made` lists the directories that were made on the way, the deepest last.
    """

    base: Path | None
    no_base: str = ""
    missing: Mapping[str, str] = field(default_factory=dict)
    made: tuple[Path, ...] = ()

    def reason(self, controller: str) -> str:
        """Returns why the controller does not work, or an empty string if it does."""
        return self.no_base or self.missing.get(controller, "")

    def close(self) -> None:
        """Removes what `open_hierarchy` made; a directory that has something in it stays."""
        for directory in reversed(self.made):
            try:
                directory.rmdir()
            except OSError:
                return


def resolve_base(configured: str, mount: Path) -> Path:
    """Returns where a configured base lies on this host.

    A path below /sys/fs/cgroup is meant as one below the cgroup v2 mount, which on a hybrid host is a
    directory deeper.

    Raises:
        BadBase: it is neither below the mount nor below /sys/fs/cgroup.
    """
    path = Path(os.path.normpath(configured))
    if mount in path.parents:
        return path
    if _USUAL_MOUNT in path.parents:
        return mount / path.relative_to(_USUAL_MOUNT)
    raise BadBase(f"cgroup_base {configured!r} is no directory below {mount}, where cgroup v2 is mounted")


def open_hierarchy(configured: str) -> Hierarchy:
    """Makes the base and enables every controller that can be had there.

    Raises:
        BadBase: see `resolve_base`.
    """
    mount = cgroup2_mount()
    if mount is None:
        return Hierarchy(None, no_cgroup2())
    base = resolve_base(configured, mount)
    try:
        made = _make(base)
    except OSError as error:
        own = _delegated_to_us(mount)
        if own is None:
            return Hierarchy(None, f"{base} cannot be made ({error.strerror}); {_DELEGATE}")
        base, made = own, ()
    try:
        _leave(base)
    except OSError as error:
        return Hierarchy(None, f"the server cannot leave {base} ({error.strerror}); {_DELEGATE}", made=made)
    missing = {name: why for name in CONTROLLERS if (why := _enable(name, mount, base))}
    return Hierarchy(base, missing=missing, made=made)


def no_cgroup2() -> str:
    """Returns the sentence for a host where cgroup v2 is not mounted at all."""
    return "cgroup v2 is not mounted; boot a kernel >= 5.14 with systemd.unified_cgroup_hierarchy=1"


def unavailable(controller: str, mount: Path, cgroup: Path) -> str:
    """Returns why a cgroup's children cannot have the controller, whoever asks; empty if they can."""
    if controller in files.read(cgroup, "cgroup.controllers").split():
        return ""
    if controller in v1_controllers():
        return f"the {controller} controller is held by cgroup v1; {ONLY_V2}"
    if controller not in files.read(mount, "cgroup.controllers").split():
        return f"this kernel has no {controller} controller for cgroup v2; boot one that has"
    return f"the {controller} controller is not delegated to {cgroup}; {_DELEGATE}"


def _make(base: Path) -> tuple[Path, ...]:
    made: list[Path] = []
    try:
        for directory in (*reversed(base.parents), base):
            if not directory.is_dir():
                directory.mkdir()
                made.append(directory)
        if not os.access(base / "cgroup.procs", os.W_OK):
            raise PermissionError(13, "Permission denied")
    except OSError:
        for directory in reversed(made):
            directory.rmdir()
        raise
    return tuple(made)


def _delegated_to_us(mount: Path) -> Path | None:
    """Returns this process's own cgroup if somebody gave it to this user (as `Delegate=yes` does)."""
    own = mount / own_cgroup().lstrip("/")
    return own if own != mount and _writable(own) else None


def _writable(cgroup: Path) -> bool:
    controls = (cgroup, cgroup / "cgroup.procs", cgroup / "cgroup.subtree_control")
    return all(os.access(path, os.W_OK) for path in controls)


def _leave(base: Path) -> None:
    """Moves the processes of the base into a leaf of it: a cgroup with controllers for its children
    must have no processes of its own ("no internal process constraint" on the kernel's page).
    """
    while pids := files.read(base, "cgroup.procs").split():
        leaf = base / _LEAF
        leaf.mkdir(exist_ok=True)
        for pid in pids:
            try:
                files.write(leaf, "cgroup.procs", pid)
            except ProcessLookupError:
                continue


def _enable(controller: str, mount: Path, base: Path) -> str:
    """Enables the controller from the mount down to the base's children; returns why it is not."""
    way = [base, *base.parents]
    for cgroup in reversed(way[: way.index(mount) + 1]):
        if controller in files.read(cgroup, "cgroup.subtree_control").split():
            continue
        if why := unavailable(controller, mount, cgroup):
            return why
        try:
            files.write(cgroup, "cgroup.subtree_control", f"+{controller}")
        except OSError as error:
            return (
                f"the {controller} controller cannot be enabled in {cgroup} ({error.strerror}); {_DELEGATE}"
            )
    return ""
