"""The job model, which the supervisor stores, the protocol carries and the API converts.

All values are frozen structs, so a job never changes under its reader. Values have no reference cycles, so
the garbage collector does not track them (`gc=False`); pages of jobs would trigger it. Times are nanoseconds
since the epoch, durations are seconds and sizes are bytes, unless a name says otherwise.
"""

import enum
from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from jobworkerd.terminal import Resizes, Terminal
from jobworkerd.trace_context import JobTrace


class JobStatus(enum.Enum):
    """The status of a job. `ALLOWED` has the possible transitions."""

    QUEUED = "queued"
    INITIALIZING = "initializing"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    STOPPED = "stopped"
    LOST = "lost"

    @property
    def final(self) -> bool:
        """Whether the job has no process, no further output and no further status."""
        return not ALLOWED[self]


ALLOWED: Mapping[JobStatus, frozenset[JobStatus]] = MappingProxyType(
    {
        JobStatus.QUEUED: frozenset({JobStatus.INITIALIZING, JobStatus.FAILED, JobStatus.STOPPED}),
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
    """Whether a job runs if a limit cannot be enforced."""

    BEST_EFFORT = "best_effort"
    STRICT = "strict"


class Network(enum.Enum):
    """The network of a job."""

    HOST = "host"
    NONE = "none"


class Stdin(enum.Enum):
    """The source of a job's stdin: /dev/null, or a pipe that clients feed.

    The server closes a pipe of kind ONCE if its feeder leaves without the end of the input.
    """

    NONE = "none"
    OPEN = "open"
    ONCE = "once"


class OutputSource(enum.IntEnum):
    """An output stream of a process. The value is the number of the file descriptor."""

    STDOUT = 1
    STDERR = 2


class TerminationReason(enum.Enum):
    """The reason of the end of a job."""

    EXITED = "exited"
    SIGNALED = "signaled"
    OOM_KILLED = "oom_killed"
    TIMED_OUT = "timed_out"
    STOPPED = "stopped"
    LOST = "lost"
    QUEUE_TIMED_OUT = "queue_timed_out"
    NOT_STARTED = "not_started"
    EVICTED = "evicted"


class Limits(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The limits of one job, with the server's defaults. This is the list of all limits.

    The name of each field is the name of the limit in requests, in `AppliedLimit` and in `cgroup.limits`.

    Attributes:
        max_cpu: percent of one core.
        cpu_weight: share of the CPU under contention; 0 = the kernel's default.
        cpu_set: cores in the format of `cores`; empty = all.
        max_memory: MiB.
        max_io_bps: bytes per second for reads, and the same for writes; 0 = unlimited.
        max_io_iops: operations per second for reads, and the same for writes; 0 = unlimited.
        max_pids: processes and threads; 0 = unlimited.
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
    """New limits of a running job. None leaves a limit unchanged."""

    max_cpu: int | None = None
    cpu_weight: int | None = None
    cpu_set: str | None = None
    max_memory: int | None = None
    max_io_bps: int | None = None
    max_io_iops: int | None = None
    max_pids: int | None = None

    @property
    def changes(self) -> dict[str, int | str]:
        """The new values of the limits that change."""
        return {name: value for name, value in msgspec.structs.asdict(self).items() if value is not None}


class JobSpec(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A validated request of a client, with the server's defaults.

    An empty `working_directory` means the private directory of the job, or `/` without one. `max_scratch`
    bounds the private directories in MiB; 0 = the job has none. A job without `queue_timeout` is refused if
    it cannot start at once.

    Only jobs of a cluster have the fields from `queue` on. `attempt` counts from 1. A job that is `fenced`
    ends with the lease of its host.
    """

    command: str
    args: tuple[str, ...] = ()
    limits: Limits
    limits_policy: LimitsPolicy
    working_directory: str = ""
    network: Network = Network.HOST
    max_scratch: int = 0
    env: dict[str, str] = {}
    timeout: float | None = None
    stop_signal: int
    stop_grace_period: float
    labels: dict[str, str] = {}
    owner: str
    request_id: str = ""
    priority: int = 0
    queue_timeout: float | None = None
    stdin: Stdin = Stdin.NONE
    terminal: Terminal | None = None
    queue: str = ""
    node_selector: dict[str, str] = {}
    retry_on_lost: bool = False
    node: str = ""
    attempt: int = 0
    fenced: bool = False


class AppliedLimit(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The state of one limit in the kernel. `reason` is empty if and only if the limit is in force."""

    limit: str
    in_force: bool
    file: str = ""
    value: str = ""
    reason: str = ""


class AppliedIsolation(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The state of one part of a job's isolation. `reason` is empty if and only if the part is in force."""

    part: str
    in_force: bool
    value: str = ""
    reason: str = ""


class Usage(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The usage of a job. A figure is None if the host cannot measure it.

    Only running jobs have `memory_current_bytes`. The names of pressures are derived from the kernel's names
    (see `cgroup.psi`).
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
    scratch_bytes: int | None = None


class StartError(msgspec.Struct, frozen=True, gc=False):
    """The error of a job that could not start.

    `kind` is the name of its class in `errors`. Only CommandNotStarted has a field of the request and the
    name of an errno.
    """

    kind: str
    field: str = ""
    errno_name: str = ""


class Termination(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The end of a job.

    `signal` is 0 if the job exited. `message` is for users. `stopped_by` is the subject of the client that
    stopped the job; empty if no client did. `start_error` is set if the job could not start.

    The flags are independent of `reason`: if a job lost a process to the OOM killer and was then stopped,
    `oom_killed` is true.
    """

    reason: TerminationReason
    signal: int = 0
    message: str
    leftovers_killed: bool = False
    oom_killed: bool = False
    stopped_by: str = ""
    start_error: StartError | None = None


class Job(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The state of one job at one moment.

    `queue_position` counts from 1; it is 0 and `queue_reason` is empty unless the status is QUEUED.
    `was_queued` is true if a client can have seen the job before its start, so a failed start is its end.
    `trace` is not in the specification, because a retry has another one and must find the same job.
    """

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
    terminal_resizes: Resizes = ()
    queue_position: int = 0
    queue_reason: str = ""
    was_queued: bool = False
    trace: JobTrace | None = None

    @property
    def run(self) -> tuple[str, str]:
        """The id and the request id, which no other execution on the host shares.

        The attempts of a job in a cluster have one id, and a host can run several of them in turn.
        """
        return self.id, self.spec.request_id


class IllegalTransition(RuntimeError):
    """Raised for a transition that `ALLOWED` does not contain. This is a bug, never an error of a user."""


def transition(job: Job, status: JobStatus, **changes: object) -> Job:
    """Return the job with a new status and other changed fields.

    Raises:
        IllegalTransition: `ALLOWED` does not contain the transition.
    """
    if status not in ALLOWED[job.status]:
        raise IllegalTransition(f"job {job.id} cannot change from {job.status.name} to {status.name}")
    return msgspec.structs.replace(job, status=status, **changes)


def without_env(job: Job) -> Job:
    """Return a job without its environment, which can contain secrets. Neither disk nor cache has it."""
    replace = msgspec.structs.replace
    return replace(job, spec=replace(job.spec, env={})) if job.spec.env else job
