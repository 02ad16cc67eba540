"""What can go wrong for a user's reason.

    JobWorkerError
    ├── InvalidRequest        fields of the request have bad values
    ├── CommandNotStarted     execve(2), or a step before it, refused the command
    ├── JobNotFound           no job has that id
    ├── JobNotRunning         only a job that runs can have that done to it
    ├── OffsetOutOfRange      a log was asked for from past its end
    ├── LimitUnavailable      policy strict, and a limit cannot be enforced here
    ├── TooManyJobs           as many jobs run as the configuration allows
    ├── HostExhausted         the host has no process, file, memory or space left
    ├── RequestIdReused       a request id came again with a different request
    ├── Unauthenticated       the connection does not say for certain who calls
    ├── RoleRequired          the caller's role does not allow the method
    ├── ReaderStalled         a reader of a log took nothing for too long
    ├── ShuttingDown          the server ends and takes no more requests
    └── SupervisorUnavailable the process that owns the jobs does not answer

The attributes are the data, `str()` is the user's sentence. An error that the supervisor raises reaches
the API process as it is: `to_wire` and `from_wire` carry its class's name and its attributes.

The classes are dataclasses but not frozen ones: contextlib and the interpreter set `__traceback__` and
`__context__` on an exception in flight.
"""

import dataclasses


@dataclasses.dataclass(eq=False)
class JobWorkerError(Exception):
    """The base of all errors that are for the user to see."""

    def __str__(self) -> str:
        return type(self).__name__


@dataclasses.dataclass(eq=False)
class InvalidRequest(JobWorkerError):
    """Raised when fields of a request have values that are not accepted.

    `violations` maps each such field to a sentence. Requests are checked before they reach the
    supervisor, so this error never travels between the two programs.
    """

    violations: dict[str, str]

    def __str__(self) -> str:
        return "; ".join(f"{field}: {why}" for field, why in self.violations.items())


@dataclasses.dataclass(eq=False)
class CommandNotStarted(JobWorkerError):
    """Raised when the command could not be executed.

    `field` is the request's field to blame, `errno_name` such as `ENOENT`, `why` a sentence.
    """

    field: str
    errno_name: str
    why: str

    def __str__(self) -> str:
        return f"{self.why} ({self.errno_name})"


@dataclasses.dataclass(eq=False)
class JobNotFound(JobWorkerError):
    """Raised when no job has the id; also when the server has dropped the job meanwhile."""

    job_id: str

    def __str__(self) -> str:
        return f"there is no job {self.job_id!r}"


@dataclasses.dataclass(eq=False)
class JobNotRunning(JobWorkerError):
    """Raised when a job is not running and has to be; `status` is what it is instead, such as `completed`."""

    job_id: str
    status: str

    def __str__(self) -> str:
        return f"job {self.job_id} is not running: it is {self.status}"


@dataclasses.dataclass(eq=False)
class OffsetOutOfRange(JobWorkerError):
    """Raised when a log is asked for from past its end."""

    job_id: str
    offset: int
    log_size: int

    def __str__(self) -> str:
        return f"offset {self.offset} is past the end of the log, which has {self.log_size} bytes"


@dataclasses.dataclass(eq=False)
class LimitUnavailable(JobWorkerError):
    """Raised when the policy is strict and a limit cannot be enforced; `why` says what to do."""

    limit: str
    why: str

    def __str__(self) -> str:
        return f"{self.limit} cannot be enforced: {self.why}"


@dataclasses.dataclass(eq=False)
class TooManyJobs(JobWorkerError):
    """Raised when as many jobs run as the configuration's `max_jobs` allows."""

    max_jobs: int

    def __str__(self) -> str:
        return f"{self.max_jobs} jobs run, and no more are allowed at once; try again when one has ended"


@dataclasses.dataclass(eq=False)
class HostExhausted(JobWorkerError):
    """Raised when the host has no process, descriptor, memory or space for a request; `why` says which."""

    why: str

    def __str__(self) -> str:
        return f"the server's host is exhausted ({self.why}); try again when other jobs have ended"


@dataclasses.dataclass(eq=False)
class RequestIdReused(JobWorkerError):
    """Raised when a request id that started a job comes again with a different request."""

    request_id: str
    job_id: str

    def __str__(self) -> str:
        return (
            f"request id {self.request_id!r} already started job {self.job_id} with another request; "
            "use a new id"
        )


@dataclasses.dataclass(eq=False)
class Unauthenticated(JobWorkerError):
    """Raised when a connection does not say for certain who calls; `why` is a sentence."""

    why: str

    def __str__(self) -> str:
        return self.why


@dataclasses.dataclass(eq=False)
class RoleRequired(JobWorkerError):
    """Raised when the caller's role does not allow the method.

    `required` names the roles that do (`Admin`, or `Admin or Viewer`; empty for a method that nobody
    may call), `role` the caller's (empty if its certificate gives none).
    """

    method: str
    required: str
    role: str

    def __str__(self) -> str:
        if not self.required:
            return f"{self.method} may be called by nobody"
        have = f"your certificate has role {self.role}" if self.role else "your certificate has no role"
        return f"{self.method} needs a certificate with OU {self.required}; {have}"


@dataclasses.dataclass(eq=False)
class ReaderStalled(JobWorkerError):
    """Raised when a reader took nothing for the stall timeout while there was output for it."""

    job_id: str
    stall_timeout: float

    def __str__(self) -> str:
        # Names no offset: what is on its way to the reader is still going to arrive there.
        return (
            f"the reader took nothing for {self.stall_timeout:g} s; nothing is lost: "
            "resume at the offset after the last byte received"
        )


@dataclasses.dataclass(eq=False)
class ShuttingDown(JobWorkerError):
    """Raised when the server ends and takes no more requests."""

    def __str__(self) -> str:
        return "the server shuts down; try again when it is back"


@dataclasses.dataclass(eq=False)
class SupervisorUnavailable(JobWorkerError):
    """Raised when the process that owns the jobs is gone or does not answer; `why` says which.

    If it is gone the API process ends, too.
    """

    why: str = "the server is restarting"

    def __str__(self) -> str:
        return f"{self.why}; try again"


def _classes() -> dict[str, type[JobWorkerError]]:
    return {cls.__name__: cls for cls in JobWorkerError.__subclasses__()}


def to_wire(error: JobWorkerError) -> tuple[str, dict[str, str | int | float]]:
    """Returns the class's name and the attributes."""
    return type(error).__name__, dataclasses.asdict(error)


def from_wire(name: str, attributes: dict[str, str | int | float]) -> JobWorkerError:
    """Returns the error that `to_wire` took apart.

    Raises:
        KeyError: no error has that name.
        TypeError: the attributes are not that error's.
    """
    return _classes()[name](**attributes)
