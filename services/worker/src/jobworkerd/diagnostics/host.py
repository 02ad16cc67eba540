"""Looks at what this host offers to the server, and changes nothing.

What the supervisor will find by trying (see `cgroup.hierarchy`) is told here from what can be read: no
cgroup is made and no controller enabled.
"""

import dataclasses
import os
import resource
from collections.abc import Iterator
from pathlib import Path

from jobworkerd.certs import files as certificate_files
from jobworkerd.certs import inspection
from jobworkerd.certs.errors import CertificatesError
from jobworkerd.cgroup import base as base_directory
from jobworkerd.cgroup import controllers, cpu, files, hierarchy, io, memory, mounts, server_cgroup
from jobworkerd.cgroup.containment import CONTAINMENT
from jobworkerd.cgroup.devices import SYSFS_BLOCK, NoDevice, whole_disks
from jobworkerd.cgroup.job_cgroup import NO_KILL
from jobworkerd.cgroup.limit import Limit
from jobworkerd.cgroup.limits import LIMITS as LIMIT_TABLE
from jobworkerd.config import Config
from jobworkerd.diagnostics import isolation, kernel
from jobworkerd.supervisor import open_files

LIMITS = "limits"
"""The section that says of each limit whether it will be in force."""

ISOLATION = "isolation"
"""The section that says the same of each part of the jobs' isolation."""

_DELEGATION = "start the server as root, or with: systemd-run --user --scope -p Delegate=yes"


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that was looked at; `text` has the reason and the cure if it is not `ok`."""

    section: str
    name: str
    ok: bool
    text: str


@dataclasses.dataclass(frozen=True)
class Place:
    """Where the jobs' cgroups will go; `problem` says why nowhere, and is empty otherwise.

    `delegated` says that it is a cgroup which somebody gave to this user, in place of the configured one.
    """

    mount: Path | None
    base: Path | None = None
    problem: str = ""
    delegated: bool = False


def diagnose(config: Config, *, proc: Path = Path("/proc")) -> list[Finding]:
    """Returns everything that there is to say, in the order of reading."""
    place = find_place(config.cgroup_base, proc)
    return [
        *_cgroups(place, proc),
        *_kernel(place, proc),
        *_disks(config),
        *_certificates(Path(config.certs_dir)),
        _capacity(config),
        *_limits(config, place),
        *_isolation(config, proc),
    ]


def find_place(configured: str, proc: Path = Path("/proc")) -> Place:
    """Returns where the jobs' cgroups will go if the server is started by this user, from here."""
    mount = mounts.cgroup2_mount(proc)
    if mount is None:
        return Place(None, problem=hierarchy.no_cgroup2())
    try:
        base = base_directory.resolve_base(configured, mount)
    except base_directory.BadBase as error:
        return Place(mount, problem=str(error))
    if base_directory.usable(base) if base.is_dir() else os.access(_nearest(base), os.W_OK | os.X_OK):
        return Place(mount, base)
    if own := base_directory.delegated(mount, proc):
        return Place(mount, own, delegated=True)
    return Place(mount, problem=f"{base} cannot be made or used by this user; {_DELEGATION}")


def controller_problem(controller: str, place: Place) -> str:
    """Returns why jobs will not have a controller; empty if they will."""
    if place.mount is None or place.base is None:
        return place.problem
    way = _way(place.mount, place.base)
    for depth, cgroup in enumerate(way):
        if controller in files.read(cgroup, "cgroup.subtree_control").split():
            continue
        # Below this one no cgroup can say whether it will have the controller: that is settled here.
        return controllers.unavailable(controller, place.mount, cgroup) or next(
            (why for each in way[depth:] if (why := _cannot_enable(controller, each, place.base))), ""
        )
    return ""


def _nearest(directory: Path) -> Path:
    return next(path for path in (directory, *directory.parents) if path.is_dir())


def _way(mount: Path, base: Path) -> list[Path]:
    """Returns the cgroups that there are from the mount down to the base, both included."""
    way = [base, *base.parents]
    return [cgroup for cgroup in reversed(way[: way.index(mount) + 1]) if cgroup.is_dir()]


def _cannot_enable(controller: str, cgroup: Path, base: Path) -> str:
    if not os.access(cgroup / "cgroup.subtree_control", os.W_OK):
        return f"the {controller} controller cannot be enabled in {cgroup} by this user; {_DELEGATION}"
    # The server leaves the base itself, and the host's root cgroup, which has no cgroup.type, may have both.
    if cgroup != base and (cgroup / "cgroup.type").exists() and files.read(cgroup, "cgroup.procs"):
        return (
            f"the {controller} controller cannot be enabled in {cgroup}, which has processes of its own; "
            "set cgroup_base to a directory below a cgroup that has none"
        )
    return ""


def _cgroups(place: Place, proc: Path) -> Iterator[Finding]:
    held = mounts.v1_controllers(proc)
    layout_ok = place.mount is not None and held.isdisjoint(controllers.CONTROLLERS)
    yield Finding("cgroups", "layout", layout_ok, _layout(place.mount, sorted(held)))
    yield Finding("cgroups", "base", place.base is not None, str(place.base or place.problem))
    yield Finding("cgroups", "delegation", place.base is not None, _delegated(place))
    yield _server(place)
    for controller in controllers.CONTROLLERS:
        problem = controller_problem(controller, place)
        yield Finding("cgroups", controller, not problem, problem or "available")


def _server(place: Place) -> Finding:
    """Returns whether the server's own processes will have priority over those of the jobs."""
    needed = (cpu.CONTROLLER, memory.CONTROLLER)
    problem = next((why for each in needed if (why := controller_problem(each, place))), "")
    mib = server_cgroup.MEMORY_MIN >> 20
    text = (
        f"{place.base}/{base_directory.SERVER}: cpu.weight {server_cgroup.CPU_WEIGHT}, memory.min {mib} MiB"
    )
    return Finding("cgroups", "server", not problem, problem or text)


def _layout(mount: Path | None, held: list[str]) -> str:
    by_v1 = f"cgroup v1 holds {', '.join(held)}"
    if mount is None:
        layout = f"v1: {by_v1}" if held else "none"
        return f"{layout}; {hierarchy.no_cgroup2()}"
    if not set(held) & set(controllers.CONTROLLERS):
        return f"hybrid: cgroup v2 at {mount}; {by_v1}" if held else f"v2, at {mount}"
    return f"hybrid: cgroup v2 at {mount}; {by_v1}; {controllers.ONLY_V2}"


def _delegated(place: Place) -> str:
    if place.base is None:
        return place.problem
    if place.delegated:
        return f"{place.base} was given to this user; cgroup_base is not used"
    return "this user may make cgroups there"


def _kernel(place: Place, proc: Path) -> Iterator[Finding]:
    yield Finding("kernel", "release", ok=True, text=os.uname().release)
    for name, ok, cure in (
        ("pidfd_open", _has_pidfd(), "boot Linux >= 5.3"),
        ("cgroup.kill", _has_file(place, "cgroup.kill", (5, 14)), NO_KILL),
        ("memory.peak", _has_file(place, "memory.peak", (5, 19)), "boot Linux >= 5.19 to have peak memory"),
        (
            "pids.peak",
            _has_file(place, "pids.peak", (6, 1)),
            "boot Linux >= 6.1 to have the peak of processes",
        ),
        ("PSI", (proc / "pressure").is_dir(), "boot with psi=1 a kernel with CONFIG_PSI to have pressures"),
    ):
        yield Finding("kernel", name, ok, "this kernel has it" if ok else cure)


def _has_pidfd() -> bool:
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError:
        return False
    return True


def _has_file(place: Place, name: str, since: tuple[int, int]) -> bool:
    """True if some cgroup has the file; where none could, if Linux is as new as the file."""
    if place.mount is not None and any(place.mount.glob(f"*/{name}")):
        return True
    return kernel.is_at_least(since)


def _disks(config: Config) -> Iterator[Finding]:
    for path in _io_paths(config):
        text, problem = _disks_under(path)
        yield Finding("disks", str(path), not problem, problem or text)


def _io_paths(config: Config) -> list[Path]:
    """Returns what I/O limits are for: where jobs run that do not say where, and the configured devices."""
    return [Path("/"), *(Path(device) for device in config.io.devices)]


def _disks_under(path: Path) -> tuple[str, str]:
    """Returns the disks, and why there are none."""
    try:
        disks = whole_disks(path)
    except NoDevice as error:
        return "", f"{error}; only jobs with a working directory on a disk will have an I/O limit"
    except OSError as error:
        return "", f"{path} has no device ({error.strerror}); correct io.devices"
    return ", ".join(f"{(SYSFS_BLOCK / disk).resolve().name} ({disk})" for disk in disks), ""


def _certificates(directory: Path) -> Iterator[Finding]:
    try:
        certificate_files.check_server_files(directory)
        found = inspection.describe_all(directory)
    except CertificatesError as error:
        yield Finding("certificates", "server", ok=False, text=str(error))
        return
    for each in found:
        text = "; ".join(each.problems) or f"{each.role}, {each.days_left} days left"
        yield Finding("certificates", each.file.name, not each.problems, text)


def _capacity(config: Config) -> Finding:
    """Compares `max_jobs` with the limit on open files that a server started from here would have."""
    _, limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    problem = open_files.too_few(config.max_jobs, limit)
    return Finding(
        "capacity", "max_jobs", not problem, problem or f"the limit of {limit} open files is enough"
    )


def _limits(config: Config, place: Place) -> Iterator[Finding]:
    for limit in LIMIT_TABLE.values():
        problem = controller_problem(limit.controller, place) or _file_problem(limit, place)
        if limit.controller == io.CONTROLLER:
            problem = problem or next(
                (why for path in _io_paths(config) if (why := _disks_under(path)[1])), ""
            )
        yield Finding(LIMITS, limit.name, not problem, problem or "will be in force")
    problem = place.problem or ("" if _has_file(place, "cgroup.kill", (5, 14)) else NO_KILL)
    yield Finding(LIMITS, CONTAINMENT, not problem, problem or "will be in force")


def _isolation(config: Config, proc: Path) -> Iterator[Finding]:
    for part, problem in isolation.problems(config, proc):
        yield Finding(ISOLATION, part, not problem, problem or "will be in force")


def _file_problem(limit: Limit, place: Place) -> str:
    """Returns why the kernel has no file for the limit although it has the controller; otherwise empty.

    The answer is empty, too, if no cgroup has the controller yet.
    """
    file = limit.optional_file
    if place.mount is None or file is None:
        return ""
    missing = any(place.mount.glob(f"*/{file.sibling}")) and not any(place.mount.glob(f"*/{file.name}"))
    return file.missing if missing else ""
