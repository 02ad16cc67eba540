"""The cgroups of the server (`<base>/server`) and of the jobs (`<base>/jobs/<id>`), and their controllers.

A host can lack any requirement of the limits. That is not an error here: for each missing part a sentence
says why it is missing and what to do. The jobs' records contain that sentence.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from jobworkerd.cgroup import files, server_cgroup
from jobworkerd.cgroup.base import JOBS, delegated, make, occupied, resolve_base
from jobworkerd.cgroup.controllers import CONTROLLERS, DELEGATE, enable
from jobworkerd.cgroup.mounts import cgroup2_mount
from jobworkerd.exhaustion import is_exhaustion


class OccupiedBase(NamedTuple):
    """The base of a server, the descriptor of its lock, and the cgroup in which the server started."""

    base: Path
    lock: int
    origin: Path


@dataclass
class Hierarchy:
    """The base directory of the jobs' cgroups, or the reason why the server has none.

    `missing` maps each controller that does not work below the base to the reason.
    `unprotected` says why the server's cgroup has no priority over the jobs; empty if it has.
    `problem` says what worked at the start of the server and fails now; empty if everything works.
    `broken` maps each controller that fails now to the reason. `repaired` lists what `repair` restored.
    `occupied` is what another supervisor of this server needs to take over the base.
    """

    base: Path | None
    no_base: str = ""
    missing: Mapping[str, str] = field(default_factory=dict)
    unprotected: str = ""
    made: ExitStack = field(default_factory=ExitStack)
    problem: str = ""
    broken: dict[str, str] = field(default_factory=dict)
    repaired: list[str] = field(default_factory=list)
    occupied: OccupiedBase | None = None

    @property
    def jobs(self) -> Path:
        """The parent of the jobs' cgroups. It exists only with a base."""
        assert self.base
        return self.base / JOBS

    def reason(self, controller: str) -> str:
        """Return why the controller does not work; empty if it works."""
        return self.no_base or self.missing.get(controller) or self.broken.get(controller, "")

    def repair(self) -> None:
        """Restore cgroups and controllers that another program removed. Set `problem` if it cannot.

        Raises:
            OSError: the host is exhausted.
        """
        if self.base is None or not (lost := self._lost()):
            self._break({})
            return
        try:
            make(self.base)
            self.jobs.mkdir(exist_ok=True)
            self._break({name: why for name in self._expected() if (why := self._enable(name))})
        except OSError as error:
            if is_exhaustion(error):
                raise
            why = f"{self.jobs} is missing and cannot be created again ({error.strerror})"
            self._break(dict.fromkeys(self._expected(), why), why)
        if not self.problem:
            self.repaired.extend(lost)

    def kill_jobs(self) -> None:
        """Kill all processes of all jobs, as far as the kernel allows."""
        if self.base:
            with suppress(OSError):
                files.write(self.jobs, "cgroup.kill", "1")

    def close(self) -> None:
        """Leave the base and remove the directories that servers created. Directories in use stay."""
        self.made.close()

    def _break(self, broken: dict[str, str], problem: str = "") -> None:
        self.broken = broken
        self.problem = problem or "; ".join(broken.values())

    def _expected(self) -> list[str]:
        return [name for name in CONTROLLERS if name not in self.missing]

    def _lost(self) -> tuple[str, ...]:
        try:
            enabled = files.read(self.jobs, "cgroup.subtree_control").split()
        except (FileNotFoundError, NotADirectoryError):
            return (str(self.jobs), *self._expected())
        return tuple(name for name in self._expected() if name not in enabled)

    def _enable(self, controller: str) -> str:
        mount = cgroup2_mount()
        return enable(controller, mount, self.jobs) if mount else no_cgroup2()


def open_hierarchy(configured: str, pids: Sequence[int], held: OccupiedBase | None = None) -> Hierarchy:
    """Create the base, move the server's processes into it and enable all available controllers.

    `held` is the base of an earlier supervisor of this server, which is still in use.

    Raises:
        BadBase: the configured base is invalid, or another server uses it.
    """
    mount = cgroup2_mount()
    if mount is None:
        return Hierarchy(None, no_cgroup2())
    if held:
        return _open(held.base, mount, pids, held)
    problem = ""
    for base in (resolve_base(configured, mount), delegated(mount)):
        try:
            if base:
                return _open(base, mount, pids, None)
        except OSError as error:
            problem = problem or f"{base} cannot be created or used ({error.strerror})"
    return Hierarchy(None, f"{problem}; {DELEGATE}")


def _open(base: Path, mount: Path, pids: Sequence[int], held: OccupiedBase | None) -> Hierarchy:
    with ExitStack() as stack:
        lock = stack.enter_context(occupied(base, held.lock if held else None))
        origin = held.origin if held else server_cgroup.enter(base, mount, pids)
        stack.callback(server_cgroup.leave, base, origin, mount, pids)
        jobs = base / JOBS
        jobs.mkdir(exist_ok=True)
        stack.callback(_remove, jobs)
        missing = {name: why for name in CONTROLLERS if (why := enable(name, mount, jobs))}
        return Hierarchy(
            base,
            missing=missing,
            unprotected=server_cgroup.protect(base),
            made=stack.pop_all(),
            occupied=OccupiedBase(base, lock, origin),
        )


def no_cgroup2() -> str:
    """Return the reason on a host without a cgroup v2 mount."""
    return "cgroup v2 is not mounted; boot a kernel >= 5.14 with systemd.unified_cgroup_hierarchy=1"


def _remove(directory: Path) -> None:
    with suppress(OSError):
        directory.rmdir()
