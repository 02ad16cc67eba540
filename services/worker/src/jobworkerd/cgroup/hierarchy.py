"""Where the jobs' cgroups go: `<base>/jobs/<id>`, beside the server's own `<base>/server`; and which
controllers are in force there.

A host may lack any part of what limits need. Nothing here fails for that: each missing part has a
sentence that says why it is missing and what to do, and that sentence reaches the records of the jobs.
"""

from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

from jobworkerd.cgroup import files, server_cgroup
from jobworkerd.cgroup.base import JOBS, delegated, make, occupied, resolve_base
from jobworkerd.cgroup.controllers import CONTROLLERS, DELEGATE, enable
from jobworkerd.cgroup.mounts import cgroup2_mount
from jobworkerd.exhaustion import is_exhaustion


@dataclass
class Hierarchy:
    """A base directory that jobs' cgroups can be made in, or the reason why the server has no such base.

    `missing` has, for each controller that does not work below the base, a sentence with the reason.
    `unprotected` says why the server's own cgroup has no priority over the jobs'; empty if it has.
    `problem` says what worked when the server started and does not work any more; empty if all works.
    `broken` has the same for each controller, and `repaired` what `repair` made again.
    """

    base: Path | None
    no_base: str = ""
    missing: Mapping[str, str] = field(default_factory=dict)
    unprotected: str = ""
    made: ExitStack = field(default_factory=ExitStack)
    problem: str = ""
    broken: dict[str, str] = field(default_factory=dict)
    repaired: list[str] = field(default_factory=list)

    @property
    def jobs(self) -> Path:
        """The directory of the jobs' cgroups; only with a base."""
        assert self.base
        return self.base / JOBS

    def reason(self, controller: str) -> str:
        """Returns why the controller does not work, or an empty string if it does."""
        return self.no_base or self.missing.get(controller) or self.broken.get(controller, "")

    def repair(self) -> None:
        """Makes again what something else removed or disabled; what cannot be made again is in `problem`.

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
            why = f"{self.jobs} is gone and cannot be made again ({error.strerror})"
            self._break(dict.fromkeys(self._expected(), why), why)
        if not self.problem:
            self.repaired.extend(lost)

    def close(self) -> None:
        """Leaves the base and removes what servers made there; a directory that has something in it stays."""
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


def open_hierarchy(configured: str) -> Hierarchy:
    """Makes the base, moves the server into it and enables every controller that can be had there.

    Raises:
        BadBase: see `resolve_base` and `occupied`.
    """
    mount = cgroup2_mount()
    if mount is None:
        return Hierarchy(None, no_cgroup2())
    problem = ""
    for base in (resolve_base(configured, mount), delegated(mount)):
        try:
            if base:
                return _open(base, mount)
        except OSError as error:
            problem = problem or f"{base} cannot be made or used ({error.strerror})"
    return Hierarchy(None, f"{problem}; {DELEGATE}")


def _open(base: Path, mount: Path) -> Hierarchy:
    with ExitStack() as stack:
        stack.enter_context(occupied(base))
        origin = server_cgroup.enter(base, mount)
        stack.callback(server_cgroup.leave, base, origin, mount)
        jobs = base / JOBS
        jobs.mkdir(exist_ok=True)
        stack.callback(_remove, jobs)
        missing = {name: why for name in CONTROLLERS if (why := enable(name, mount, jobs))}
        return Hierarchy(base, "", missing, server_cgroup.protect(base), stack.pop_all())


def no_cgroup2() -> str:
    """Returns the sentence for a host where cgroup v2 is not mounted at all."""
    return "cgroup v2 is not mounted; boot a kernel >= 5.14 with systemd.unified_cgroup_hierarchy=1"


def _remove(directory: Path) -> None:
    with suppress(OSError):
        directory.rmdir()
