"""The errors that clients see.

    JobWorkerError
    ├── InvalidRequest        fields of the request have invalid values
    ├── MessageTooLarge       the request has too many bytes
    ├── CommandNotStarted     execve(2), or a step before it, failed
    ├── JobNotFound           no job has this id
    ├── JobNotRunning         the operation requires a running job
    ├── JobNotFinal           the operation requires a job that has ended
    ├── OffsetOutOfRange      the offset is past the end of the log
    ├── NoStdin               the job was created without an open stdin
    ├── StdinInUse            another client feeds the stdin of the job
    ├── InputOffsetOutOfRange the input would have a gap
    ├── LimitUnavailable      the policy is strict and a limit cannot be enforced
    ├── TooManyJobs           the server has no room for the job now
    ├── QuotaExceeded         the client would exceed a bound on each client
    ├── ServerBusy            all clients together would exceed a bound
    ├── HostExhausted         the host lacks processes, descriptors, memory or space
    ├── RequestIdReused       the request id belongs to a different request
    ├── Unauthenticated       the identity of the client is unknown
    ├── CertificateRevoked    the certificate of the client is in the revocation list
    ├── RoleRequired          the role of the client does not allow the method
    ├── ReaderStalled         a client did not read its stream for too long
    ├── ShuttingDown          the server shuts down and accepts no requests
    ├── SupervisorUnavailable the supervisor is gone or does not answer
    ├── NodeUnreachable       a gateway cannot reach the node of the job
    ├── ClusterUnavailable    a gateway cannot reach the control plane or its database
    └── ClusterRefused        the control plane does not accept what a gateway requests

The attributes are the data. `str()` is the message for the client. `to_wire` and `from_wire` carry an error
from the supervisor to an API process by the name of its class and its attributes.

The dataclasses are not frozen, because contextlib and the interpreter set `__traceback__` and `__context__`.
"""

import dataclasses


@dataclasses.dataclass(eq=False)
class JobWorkerError(Exception):
    """The base class of all errors that clients see."""

    def __str__(self) -> str:
        return type(self).__name__


@dataclasses.dataclass(eq=False)
class InvalidRequest(JobWorkerError):
    """Raised when fields of a request have invalid values.

    `violations` maps each of these fields to a message. The API process checks requests, so the supervisor
    never sends this error.
    """

    violations: dict[str, str]

    def __str__(self) -> str:
        return "; ".join(f"{field}: {why}" for field, why in self.violations.items())


@dataclasses.dataclass(eq=False)
class MessageTooLarge(JobWorkerError):
    """Raised when a request has more than `max_bytes` bytes. The API process checks the size.

    `max_bytes` is 0 if a gateway does not know the bound of its cluster.
    """

    size: int
    max_bytes: int

    def __str__(self) -> str:
        bound = f"at most {self.max_bytes}" if self.max_bytes else "less"
        return (
            f"the request has {self.size} bytes of arguments, environment, labels and other fields; "
            f"use {bound}, and pass large values in a file that the job reads"
        )


@dataclasses.dataclass(eq=False)
class CommandNotStarted(JobWorkerError):
    """Raised when the command cannot be executed.

    `field` is the field of the request that caused the error. `errno_name` is a name such as `ENOENT`. `why`
    is the message.
    """

    field: str
    errno_name: str
    why: str

    def __str__(self) -> str:
        return f"{self.why} ({self.errno_name})"


@dataclasses.dataclass(eq=False)
class JobNotFound(JobWorkerError):
    """Raised when no job has the id, or the server has removed the job."""

    job_id: str

    def __str__(self) -> str:
        return f"job {self.job_id!r} does not exist"


@dataclasses.dataclass(eq=False)
class JobNotRunning(JobWorkerError):
    """Raised when an operation requires a running job. `status` is the status, such as `completed`."""

    job_id: str
    status: str

    def __str__(self) -> str:
        return f"job {self.job_id} is {self.status}; only a running job can be updated or signaled"


@dataclasses.dataclass(eq=False)
class JobNotFinal(JobWorkerError):
    """Raised when an operation requires a job that has ended. `status` is the status, such as `running`."""

    job_id: str
    status: str

    def __str__(self) -> str:
        return f"job {self.job_id} is {self.status}; stop it, or wait for its end, before you delete it"


@dataclasses.dataclass(eq=False)
class OffsetOutOfRange(JobWorkerError):
    """Raised when the start offset of a stream is past the end of the log."""

    job_id: str
    offset: int
    log_size: int

    def __str__(self) -> str:
        return f"offset: {self.offset} is past the end of the log; use 0 to {self.log_size}"


@dataclasses.dataclass(eq=False)
class NoStdin(JobWorkerError):
    """Raised when a client sends input for a job that was created without an open stdin."""

    job_id: str

    def __str__(self) -> str:
        return f"job {self.job_id} reads no input; create the job with stdin OPEN or ONCE"


@dataclasses.dataclass(eq=False)
class StdinInUse(JobWorkerError):
    """Raised when another client feeds the stdin of a job, or has taken it over."""

    job_id: str

    def __str__(self) -> str:
        return (
            f"another client feeds the stdin of job {self.job_id}; wait until it has ended, or set take_over"
        )


@dataclasses.dataclass(eq=False)
class InputOffsetOutOfRange(JobWorkerError):
    """Raised when an input continues after bytes that the server has not accepted."""

    job_id: str
    offset: int
    accepted: int

    def __str__(self) -> str:
        return f"offset: the input continues at {self.offset}, not at {self.accepted}; continue there"


@dataclasses.dataclass(eq=False)
class LimitUnavailable(JobWorkerError):
    """Raised when the policy is strict and a limit cannot be enforced. `why` says what to do."""

    limit: str
    why: str

    def __str__(self) -> str:
        return f"{self.limit} cannot be enforced: {self.why}"


@dataclasses.dataclass(eq=False)
class TooManyJobs(JobWorkerError):
    """Raised when a job cannot start now and does not wait in the queue, or the queue is full.

    `why` says what the server lacks, and `remedy` what to do.
    """

    why: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.why}; {self.remedy}"


@dataclasses.dataclass(eq=False)
class QuotaExceeded(JobWorkerError):
    """Raised when a client would exceed a bound on each client.

    `quota` is the setting, such as `quota.admin.running_jobs`, and `limit` its value. `why` says what the
    client uses, and `remedy` what to do. A retry can succeed after `retry_seconds`.
    """

    quota: str
    limit: float
    why: str
    remedy: str
    retry_seconds: float = 1.0

    def __str__(self) -> str:
        return f"{self.why}, which is the maximum of one client ({self.quota}); {self.remedy}"


@dataclasses.dataclass(eq=False)
class ServerBusy(JobWorkerError):
    """Raised when all clients together would exceed a bound.

    `setting` is the name of the bound, and `limit` its value. `why` says what the clients use. A retry can
    succeed after `retry_seconds`.
    """

    setting: str
    limit: float
    why: str
    retry_seconds: float = 1.0

    def __str__(self) -> str:
        return f"{self.why}, which is the maximum of the server ({self.setting}); retry"


@dataclasses.dataclass(eq=False)
class HostExhausted(JobWorkerError):
    """Raised when the host lacks processes, descriptors, memory or space for a request. `why` says which."""

    why: str

    def __str__(self) -> str:
        return f"the host of the server is exhausted ({self.why}); retry when other jobs have ended"


@dataclasses.dataclass(eq=False)
class RequestIdReused(JobWorkerError):
    """Raised when a request id that started a job is used for a different request."""

    request_id: str
    job_id: str

    def __str__(self) -> str:
        return (
            f"request_id: {self.request_id!r} started job {self.job_id} with a different request; "
            "use a new id"
        )


@dataclasses.dataclass(eq=False)
class Unauthenticated(JobWorkerError):
    """Raised when the certificate of a connection does not identify the client. `why` is the message."""

    why: str

    def __str__(self) -> str:
        return self.why


@dataclasses.dataclass(eq=False)
class CertificateRevoked(JobWorkerError):
    """Raised when the revocation list has the client certificate or the certificate of one of its issuers.

    `subject` and `serial` (hexadecimal) are those of the revoked certificate.
    """

    subject: str
    serial: str

    def __str__(self) -> str:
        return (
            f"the certificate of {self.subject} with serial number {self.serial} is revoked; "
            "use another certificate"
        )


CREDENTIAL_ERRORS = (Unauthenticated, CertificateRevoked)
"""The errors for a client certificate that the server does not accept."""


@dataclasses.dataclass(eq=False)
class RoleRequired(JobWorkerError):
    """Raised when the role of the client does not allow the method.

    `required` names the roles that may call it: `Admin`, `Admin or Viewer`, or empty for a method that no
    role may call. `role` is the role of the client; empty if its certificate has none.
    """

    method: str
    required: str
    role: str

    def __str__(self) -> str:
        if not self.required:
            return f"{self.method} is not available to clients"
        have = f"your certificate has role {self.role}" if self.role else "your certificate has no role"
        return f"{self.method} requires a certificate with OU {self.required}; {have}"


@dataclasses.dataclass(eq=False)
class ReaderStalled(JobWorkerError):
    """Raised when a client did not read its stream for the stall timeout while output was pending."""

    job_id: str
    stall_timeout: float

    def __str__(self) -> str:
        # The message has no offset, because data in flight still reaches the client.
        return (
            f"the client read nothing for {self.stall_timeout:g} s; "
            "resume the stream at the offset after the last received byte"
        )


@dataclasses.dataclass(eq=False)
class ShuttingDown(JobWorkerError):
    """Raised when the server shuts down and accepts no requests."""

    def __str__(self) -> str:
        return "the server is shutting down; retry when it is available again"


@dataclasses.dataclass(eq=False)
class SupervisorUnavailable(JobWorkerError):
    """Raised when the supervisor is gone or does not answer. `why` says which.

    An API process ends when the supervisor is gone.
    """

    why: str = "the server is restarting"

    def __str__(self) -> str:
        return f"{self.why}; retry"


@dataclasses.dataclass(eq=False)
class NodeUnreachable(JobWorkerError):
    """Raised when a gateway cannot reach the node of a job. `node` is its name. `why` is the cause."""

    node: str
    why: str

    def __str__(self) -> str:
        return f"node {self.node} cannot be reached ({self.why}); retry"


@dataclasses.dataclass(eq=False)
class ClusterUnavailable(JobWorkerError):
    """Raised when a gateway cannot reach the control plane or its database. `why` is the cause."""

    why: str

    def __str__(self) -> str:
        return f"the cluster is not available ({self.why}); retry"


@dataclasses.dataclass(eq=False)
class ClusterRefused(JobWorkerError):
    """Raised when the control plane does not accept what a gateway requests, so that a retry fails, too.

    `why` is its message, and `remedy` what to do.
    """

    why: str
    remedy: str

    def __str__(self) -> str:
        return f"the cluster refuses the request ({self.why}); {self.remedy}"


def _classes() -> dict[str, type[JobWorkerError]]:
    return {cls.__name__: cls for cls in JobWorkerError.__subclasses__()}


def to_wire(error: JobWorkerError) -> tuple[str, dict[str, str | int | float]]:
    """Return the name of the class and the attributes."""
    return type(error).__name__, dataclasses.asdict(error)


def from_wire(name: str, attributes: dict[str, str | int | float]) -> JobWorkerError:
    """Return the error for the values from `to_wire`.

    Raises:
        KeyError: no error class has this name.
        TypeError: the attributes do not match the class.
    """
    return _classes()[name](**attributes)
