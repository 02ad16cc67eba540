"""Checks what this host offers to the server, without changing it.

The supervisor creates cgroups and enables controllers (`cgroup.hierarchy`). The checks here read files only.
"""

import dataclasses
import os
import pwd
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
"""The section with a finding for each limit."""

ISOLATION = "isolation"
"""The section with a finding for each part of the isolation."""

_LINGERING = Path("/var/lib/systemd/linger")
"""A file for each user whose service manager runs without a session of that user."""


@dataclasses.dataclass(frozen=True)
class Finding:
    """The result of one check; `text` has the reason and the fix if it is not `ok`."""

    section: str
    name: str
    ok: bool
    text: str


@dataclasses.dataclass(frozen=True)
class CgroupLocation:
    """The parent of the jobs' cgroups; `problem` is the reason if there is no `base`.

    `delegated` means that this user owns the cgroup, which replaces the configured one. `manager` means that
    it is the cgroup of this user's service manager, and that the server gets one below it.
    """

    mount: Path | None
    base: Path | None = None
    problem: str = ""
    delegated: bool = False
    manager: bool = False


def diagnose(config: Config, *, proc: Path = Path("/proc")) -> list[Finding]:
    """Return the findings of all checks, in the order of the report."""
    location = locate_base(config.cgroup_base, proc)
    return [
        *_cgroups(location, proc),
        *_kernel(location, proc),
        *_disks(config),
        *_certificates(Path(config.certs_dir)),
        _capacity(config),
        *_service(location),
        *_limits(config, location),
        *_isolation(config, proc),
    ]


def locate_base(configured: str, proc: Path = Path("/proc")) -> CgroupLocation:
    """Return the parent of the jobs' cgroups for a server that this user starts from here."""
    mount = mounts.cgroup2_mount(proc)
    if mount is None:
        return CgroupLocation(None, problem=hierarchy.no_cgroup2())
    try:
        base = base_directory.resolve_base(configured, mount)
    except base_directory.BadBase as error:
        return CgroupLocation(mount, problem=str(error))
    if base_directory.usable(base) if base.is_dir() else os.access(_nearest(base), os.W_OK | os.X_OK):
        return CgroupLocation(mount, base)
    if own := base_directory.delegated(mount, proc):
        return CgroupLocation(mount, own, delegated=True)
    if manager := base_directory.of_service_manager(mount):
        return CgroupLocation(mount, manager, delegated=True, manager=True)
    problem = f"{base} cannot be created or used by this user; {controllers.DELEGATE}"
    return CgroupLocation(mount, problem=problem)


def controller_problem(controller: str, location: CgroupLocation) -> str:
    """Return why jobs cannot use a controller; empty if they can."""
    if location.mount is None or location.base is None:
        return location.problem
    cgroups = _path_to(location.mount, location.base)
    for depth, cgroup in enumerate(cgroups):
        if controller in files.read(cgroup, "cgroup.subtree_control").split():
            continue
        # The cgroups below show the controller only after it is enabled here.
        return controllers.unavailable(controller, location.mount, cgroup) or next(
            (why for each in cgroups[depth:] if (why := _cannot_enable(controller, each, location.base))), ""
        )
    return ""


def _nearest(directory: Path) -> Path:
    return next(path for path in (directory, *directory.parents) if path.is_dir())


def _path_to(mount: Path, base: Path) -> list[Path]:
    """Return the existing cgroups from the mount down to the base, both included."""
    cgroups = [base, *base.parents]
    return [cgroup for cgroup in reversed(cgroups[: cgroups.index(mount) + 1]) if cgroup.is_dir()]


def _cannot_enable(controller: str, cgroup: Path, base: Path) -> str:
    if not os.access(cgroup / "cgroup.subtree_control", os.W_OK):
        remedy = controllers.delegation(base)
        return f"the {controller} controller cannot be enabled in {cgroup} by this user; {remedy}"
    # The server leaves the base. The root cgroup of the host, which has no cgroup.type, may have both
    # processes and enabled controllers.
    if cgroup != base and (cgroup / "cgroup.type").exists() and files.read(cgroup, "cgroup.procs"):
        return (
            f"the {controller} controller cannot be enabled in {cgroup}, which contains processes; "
            "set cgroup_base to a directory below a cgroup without processes"
        )
    return ""


def _cgroups(location: CgroupLocation, proc: Path) -> Iterator[Finding]:
    held = mounts.v1_controllers(proc)
    layout_ok = location.mount is not None and held.isdisjoint(controllers.CONTROLLERS)
    yield Finding("cgroups", "layout", layout_ok, _layout(location.mount, sorted(held)))
    yield Finding("cgroups", "base", location.base is not None, str(location.base or location.problem))
    yield Finding("cgroups", "delegation", location.base is not None, _delegated(location))
    yield _server(location)
    for controller in controllers.CONTROLLERS:
        problem = controller_problem(controller, location)
        yield Finding("cgroups", controller, not problem, problem or "available")


def _server(location: CgroupLocation) -> Finding:
    """Check whether the processes of the server get priority over those of the jobs."""
    needed = (cpu.CONTROLLER, memory.CONTROLLER)
    problem = next((why for each in needed if (why := controller_problem(each, location))), "")
    mib = server_cgroup.MEMORY_MIN >> 20
    weights = f"cpu.weight {server_cgroup.CPU_WEIGHT}, memory.min {mib} MiB"
    text = f"{location.base}/{base_directory.SERVER}: {weights}"
    return Finding("cgroups", "server", not problem, problem or text)


def _layout(mount: Path | None, held: list[str]) -> str:
    v1_text = f"cgroup v1 holds {', '.join(held)}"
    if mount is None:
        layout = f"v1: {v1_text}" if held else "none"
        return f"{layout}; {hierarchy.no_cgroup2()}"
    if not set(held) & set(controllers.CONTROLLERS):
        return f"hybrid: cgroup v2 at {mount}; {v1_text}" if held else f"v2, at {mount}"
    return f"hybrid: cgroup v2 at {mount}; {v1_text}; {controllers.ONLY_V2}"


def _delegated(location: CgroupLocation) -> str:
    if location.base is None:
        return location.problem
    if location.manager:
        return (
            f"{location.base} is delegated to the service manager of this user; start the server with: "
            "systemctl --user start jobworkerd"
        )
    if location.delegated:
        return f"{location.base} is delegated to this user and replaces cgroup_base"
    return "this user can create cgroups there"


def _kernel(location: CgroupLocation, proc: Path) -> Iterator[Finding]:
    yield Finding("kernel", "release", ok=True, text=os.uname().release)
    for name, ok, fix in (
        ("pidfd_open", _has_pidfd(), "boot Linux >= 5.3"),
        ("cgroup.kill", _has_file(location, "cgroup.kill", (5, 14)), NO_KILL),
        (
            "memory.peak",
            _has_file(location, "memory.peak", (5, 19)),
            "boot Linux >= 5.19 for the peak memory of jobs",
        ),
        (
            "pids.peak",
            _has_file(location, "pids.peak", (6, 1)),
            "boot Linux >= 6.1 for the peak number of processes",
        ),
        ("PSI", (proc / "pressure").is_dir(), "boot a kernel with CONFIG_PSI and psi=1 for pressure figures"),
    ):
        yield Finding("kernel", name, ok, "supported by this kernel" if ok else fix)


def _has_pidfd() -> bool:
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError:
        return False
    return True


def _has_file(location: CgroupLocation, name: str, since: tuple[int, int]) -> bool:
    """Return whether any cgroup has the file. Without cgroups, the kernel version decides."""
    if location.mount is not None and any(location.mount.glob(f"*/{name}")):
        return True
    return kernel.is_at_least(since)


def _disks(config: Config) -> Iterator[Finding]:
    for path in _io_paths(config):
        text, problem = _disks_under(path)
        yield Finding("disks", str(path), not problem, problem or text)


def _io_paths(config: Config) -> list[Path]:
    """Return the paths for I/O limits: the default working directory and the configured devices."""
    return [Path("/"), *(Path(device) for device in config.io.devices)]


def _disks_under(path: Path) -> tuple[str, str]:
    """Return the disks below a path, or an error message."""
    try:
        disks = whole_disks(path)
    except NoDevice as error:
        return "", f"{error}; only jobs with a working directory on a disk can have I/O limits"
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
    """Compare `max_jobs` with the limit on open files of a server that is started from here."""
    _, limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    problem = open_files.too_few(config.max_jobs, limit)
    return Finding(
        "capacity", "max_jobs", not problem, problem or f"the limit of {limit} open files is sufficient"
    )


def _service(location: CgroupLocation) -> Iterator[Finding]:
    """Check whether the service manager of this user continues without a session."""
    if not location.manager:
        return
    name = pwd.getpwuid(os.getuid()).pw_name
    lingers = (_LINGERING / name).exists()
    fix = f"the server ends with the last session of this user; run: loginctl enable-linger {name}"
    yield Finding("service", "linger", lingers, "it continues without a session" if lingers else fix)


def _limits(config: Config, location: CgroupLocation) -> Iterator[Finding]:
    for limit in LIMIT_TABLE.values():
        problem = controller_problem(limit.controller, location) or _file_problem(limit, location)
        if limit.controller == io.CONTROLLER:
            problem = problem or next(
                (why for path in _io_paths(config) if (why := _disks_under(path)[1])), ""
            )
        yield Finding(LIMITS, limit.name, not problem, problem or "can be enforced")
    problem = location.problem or ("" if _has_file(location, "cgroup.kill", (5, 14)) else NO_KILL)
    yield Finding(LIMITS, CONTAINMENT, not problem, problem or "can be enforced")


def _isolation(config: Config, proc: Path) -> Iterator[Finding]:
    for part, problem in isolation.problems(config, proc):
        yield Finding(ISOLATION, part, not problem, problem or "can be enforced")


def _file_problem(limit: Limit, location: CgroupLocation) -> str:
    """Return why the kernel has no file for the limit although it has the controller; otherwise empty.

    The answer is empty, too, if no cgroup has the controller yet.
    """
    file = limit.optional_file
    if location.mount is None or file is None:
        return ""
    missing = any(location.mount.glob(f"*/{file.sibling}")) and not any(location.mount.glob(f"*/{file.name}"))
    return file.missing if missing else ""
