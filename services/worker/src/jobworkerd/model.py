"""The job model: what the supervisor keeps, what travels between the two programs, what the API shows.

Every value is a frozen struct, so a job that was handed out never changes under its reader. No value refers
back to another, so the garbage collector does not track them (`gc=False`): pages of jobs made it run. Times
are nanoseconds since the epoch, durations are seconds, sizes are bytes unless a name says otherwise.
"""

import enum
from collections.abc import Mapping
from types import MappingProxyType

import msgspec


class JobStatus(enum.Enum):
    """Where a job is in its life; `ALLOWED` says which way it may go from there."""

    INITIALIZING = "initializing"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    STOPPED = "stopped"
    LOST = "lost"

    @property
    def final(self) -> bool:
        """True if a job with this status has no process, no more output and no other status to come."""
        return not ALLOWED[self]


ALLOWED: Mapping[JobStatus, frozenset[JobStatus]] = MappingProxyType(
    {
        JobStatus.INITIALIZING: frozenset(
            {JobStatus.RUNNING, JobStatus.FAILED, JobStatus.STOPPED, JobStatus.LOST}
        ),
        JobStatus.RUNNING: frozenset(
            {JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.STOPPED, JobStatus.LOST}
        ),
        JobStatus.COMPLETED: frozenset(),
        JobStatus.FAILED: frozenset(),
        JobStatus.STOPPED: frozenset(),
        JobStatus.LOST: frozenset(),
    }
)


class LimitsPolicy(enum.Enum):
    """What to do where a limit cannot be enforced."""

    BEST_EFFORT = "best_effort"
    STRICT = "strict"


class Network(enum.Enum):
    """What a job has of the host's network."""

    HOST = "host"
    NONE = "none"


class OutputSource(enum.IntEnum):
    """One of a process's output streams, under its file descriptor's number."""

    STDOUT = 1
    STDERR = 2


class TerminationReason(enum.Enum):
    """The kind of a job's end."""

    EXITED = "exited"
    SIGNALED = "signaled"
    OOM_KILLED = "oom_killed"
    TIMED_OUT = "timed_out"
    STOPPED = "stopped"


class Limits(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The limits of one job, after defaults.

    `max_cpu` is percent of one core, `max_memory` MiB, `max_io_bps` bytes a second for reads and,
    separately, for writes, `max_io_iops` operations likewise; these two and `max_pids` are unlimited at 0.
    `cpu_weight` is the kernel's default at 0, `cpu_set` (see `cores`) all cores where it is empty.
    Each field's name is the limit's name in `AppliedLimit`.
    """

    max_cpu: int
    cpu_weight: int = 0
    cpu_set: str = ""
    max_memory: int
    max_io_bps: int
    max_io_iops: int = 0
    max_pids: int

    @property
    def limiting(self) -> tuple[str, ...]:
        """The names of the limits that are not unlimited."""
        return tuple(name for name in self.__struct_fields__ if getattr(self, name))


class LimitsUpdate(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Other limits for a job that runs; None for one that stays as it is."""

    max_cpu: int | None = None
    cpu_weight: int | None = None
    cpu_set: str | None = None
    max_memory: int | None = None
    max_io_bps: int | None = None
    max_io_iops: int | None = None
    max_pids: int | None = None

    @property
    def changes(self) -> dict[str, int | str]:
        """The new value of each limit that does not stay as it is."""
        return {name: value for name, value in msgspec.structs.asdict(self).items() if value is not None}


class JobSpec(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a client asked for, checked and with every default filled in.

    An empty `working_directory` is the job's private one, or `/` if it has none.
    """

    command: str
    args: tuple[str, ...] = ()
    limits: Limits
    limits_policy: LimitsPolicy
    working_directory: str = ""
    network: Network = Network.HOST
    env: dict[str, str] = {}
    timeout: float | None = None
    stop_signal: int
    stop_grace_period: float
    labels: dict[str, str] = {}
    owner: str
    request_id: str = ""


class AppliedLimit(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What the kernel says about one limit; `reason` is empty if, and only if, it is in force."""

    limit: str
    in_force: bool
    file: str = ""
    value: str = ""
    reason: str = ""


class AppliedIsolation(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What is in force of one part of a job's isolation; `reason` is empty if, and only if, it is."""

    part: str
    in_force: bool
    value: str = ""
    reason: str = ""


class Usage(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a job has used; None where this host cannot measure it. `memory_current_bytes` is of running
    jobs alone. The names of the pressures are made of the kernel's (see `cgroup.psi`).
    """

    wall_usec: int | None = None

    cpu_user_usec: int | None = None
    cpu_system_usec: int | None = None
    cpu_throttled_usec: int | None = None
    memory_peak_bytes: int | None = None
    memory_current_bytes: int | None = None
    memory_high_count: int | None = None
    oom_count: int | None = None
    oom_kill_count: int | None = None
    io_read_bytes: int | None = None
    io_write_bytes: int | None = None
    io_read_count: int | None = None
    io_write_count: int | None = None
    pids_peak_count: int | None = None
    pids_denied_count: int | None = None
    cpu_pressure_some_usec: int | None = None
    cpu_pressure_full_usec: int | None = None
    memory_pressure_some_usec: int | None = None
    memory_pressure_full_usec: int | None = None
    io_pressure_some_usec: int | None = None
    io_pressure_full_usec: int | None = None


class Termination(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """How a job ended. `signal` is 0 where it was none; `message` is a sentence for people; `stopped_by`
    the subject who had the job stopped, empty where nobody did.

    The flags are facts of their own beside the one `reason`: of a job that was OOM-killed in part and then
    stopped, `oom_killed` is true.
    """

    reason: TerminationReason
    signal: int = 0
    message: str
    leftovers_killed: bool = False
    oom_killed: bool = False
    timed_out: bool = False
    stopped_by: str = ""


class Job(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One job as it was at one moment."""

    id: str
    spec: JobSpec
    status: JobStatus
    create_time_ns: int
    start_time_ns: int | None = None
    end_time_ns: int | None = None
    pid: int = 0
    exit_code: int | None = None
    termination: Termination | None = None
    applied_limits: tuple[AppliedLimit, ...] = ()
    applied_isolation: tuple[AppliedIsolation, ...] = ()
    usage: Usage = Usage()
    log_size: int = 0
    kill_pending: bool = False
    memory_high_lift_time_ns: int | None = None


class IllegalTransition(RuntimeError):
    """Raised when a job would go a way that `ALLOWED` does not know: a bug, never a user's mistake."""


def transition(job: Job, status: JobStatus, **changes: object) -> Job:
    """Returns the job with a new status and other fields changed with it.

    Raises:
        IllegalTransition: `ALLOWED` has no way from the job's status to the new one.
    """
    if status not in ALLOWED[job.status]:
        raise IllegalTransition(f"job {job.id} cannot go from {job.status.name} to {status.name}")
    return msgspec.structs.replace(job, status=status, **changes)
