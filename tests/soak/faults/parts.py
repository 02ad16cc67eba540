"""Finds the processes of a live server, and counts what the server holds."""

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from live import Server

KEEPER = "jobworkerd.keeper"
SUPERVISOR = "jobworkerd.supervisor"
FORK_SERVER = "jobworkerd.spawn.fork_server"
API = "jobworkerd.api"

_JOB_HOME = Path("/home/job")


def pids_of(server: Server, module: str) -> list[int]:
    """Return the main process or its descendants that run a module, the oldest first."""
    assert server.process
    pids = (server.process.pid, *_descendants(server.process.pid))
    return sorted((pid for pid in pids if module in _arguments(pid)), key=_start)


def has_keeper(server: Server) -> bool:
    """Return whether the supervisor can die without the jobs."""
    assert server.process
    return KEEPER in _arguments(server.process.pid)


def supervisor_pid(server: Server) -> int | None:
    """Return the PID of the supervisor: the older one while a reload prepares another."""
    return next(iter(pids_of(server, SUPERVISOR)), None)


def fork_server_pid(server: Server) -> int | None:
    """Return the PID of the fork server, which is older than the spare processes that it forked."""
    return next(iter(pids_of(server, FORK_SERVER)), None)


def job_directory(server: Server, job_id: str) -> Path:
    """Return the directory of a job's log."""
    assert server.state
    return server.state / "state" / "jobs" / job_id


def is_stopped(pid: int) -> bool:
    """Return whether a process is stopped by a signal."""
    return "State:\tT" in _status(pid)


def _descendants(pid: int) -> list[int]:
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    children = [int(each) for each in text.split()]
    return [*children, *(each for child in children for each in _descendants(child))]


def _arguments(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return []


def _start(pid: int) -> tuple[int, int]:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]), pid
    except OSError:
        return 1 << 62, pid


@dataclass(frozen=True)
class Held:
    """The resources of a server: processes, descriptors by kind, job cgroups, directories and own mounts."""

    processes: tuple[tuple[str, int], ...]
    main_descriptors: tuple[tuple[str, int], ...]
    supervisor_descriptors: tuple[tuple[str, int], ...]
    cgroups: int
    directories: int
    mounts: int

    def difference(self, now: "Held") -> str:
        """Return the resources that differ, with both values."""
        pairs = ((name, getattr(self, name), getattr(now, name)) for name in self.__dataclass_fields__)
        return "; ".join(f"{name}: {before} to {after}" for name, before, after in pairs if before != after)

    @classmethod
    def by(cls, server: Server) -> "Held":
        """Count everything now. The log prepared for the next job is not counted."""
        assert server.process
        assert server.state
        main, supervisor = server.process.pid, supervisor_pid(server)
        return cls(
            tuple(sorted(Counter(map(_describe, _descendants(main))).items())),
            _descriptors(main),
            _descriptors(supervisor) if supervisor else (),
            len(server.job_cgroups()),
            sum(1 for each in (server.state / "state" / "jobs").iterdir() if each.name != "next"),
            len(own_mounts(Path("/proc/self/mountinfo").read_text(), server.state)),
        )


def own_mounts(mountinfo: str, state: Path) -> list[str]:
    """Return the mount points that belong to a server, from a file of proc(5).

    These are the mounts below its directory, and the mounts elsewhere of a file system that is mounted there.
    The homes of jobs count too: no process outside of a job must see them.
    """
    mounts = [(fields[2], Path(fields[4])) for fields in map(str.split, mountinfo.splitlines())]
    devices = {device for device, point in mounts if point.is_relative_to(state)}
    return [
        point.as_posix() for device, point in mounts if device in devices or point.is_relative_to(_JOB_HOME)
    ]


def _describe(pid: int) -> str:
    """Return the module and the state of a process of the server."""
    module = next((each for each in _arguments(pid) if each.startswith("jobworkerd.")), "")
    state = re.search(r"State:\s+(.*)", _status(pid))
    return f"{module or _arguments(pid)} {'zombie' if state and 'zombie' in state[1] else ''}"


def _status(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return ""


def _descriptors(pid: int) -> tuple[tuple[str, int], ...]:
    kinds: Counter[str] = Counter()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            kinds[re.sub(r"\d+", "N", entry.readlink().as_posix().partition(":[")[0])] += 1
        except OSError:
            continue
    return tuple(sorted(kinds.items()))


def resident_mib(pid: int) -> float:
    """Return the resident memory of a process in MiB."""
    found = re.search(r"VmRSS:\s+(\d+)", _status(pid))
    return int(found[1]) / 1024 if found else 0.0


@dataclass(frozen=True)
class Memory:
    """The resident memory of the two processes that must not grow with the number of jobs, in MiB."""

    keeper: float
    supervisor: float

    @classmethod
    def by(cls, server: Server) -> "Memory":
        """Measure now."""
        assert server.process
        return cls(resident_mib(server.process.pid), resident_mib(supervisor_pid(server) or 0))
