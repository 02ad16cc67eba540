"""What can go wrong, as one tree of exceptions: catch `JobWorkerError`, or one that you can cure.

Nothing of gRPC leaves this package: every failed call raises one of these.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

__all__ = [
    "BY_REASON",
    "AddressInvalid",
    "Cause",
    "CertificateUnusable",
    "CommandNotStarted",
    "ConnectionLost",
    "DeadlineExceeded",
    "FieldViolation",
    "HostExhausted",
    "InvalidRequest",
    "JobNotFound",
    "JobNotRunning",
    "JobWorkerError",
    "LimitUnavailable",
    "OffsetOutOfRange",
    "ReaderStalled",
    "RequestIdReused",
    "RoleRequired",
    "ShuttingDown",
    "SupervisorUnavailable",
    "TooManyJobs",
    "Unauthenticated",
    "Unreachable",
    "WrongOffset",
]


@dataclass(frozen=True)
class FieldViolation:
    """A value that the server refused: the request's field (`max_cpu`, `env["A B"]`), and why."""

    field: str
    description: str


@dataclass(eq=False)
class JobWorkerError(Exception):
    """Raised when a call fails.

    Attributes:
        message: a sentence for people.
        code: the name of the gRPC status (`NOT_FOUND`); empty where the call was not made.
        reason: what happened, for programs (`JOB_NOT_FOUND`). Those of the server are in the API's
            description; of this package's own there are UNREACHABLE, CONNECTION_LOST and WRONG_OFFSET.
            Empty where neither has a name for it.
        fields: the values that the server refused, if it did.
        metadata: the server's details (https://google.aip.dev/193), such as `job_id` or `errno`.
        retryable: the same call may succeed in a moment. This client has then tried already.
    """

    message: str
    code: str = ""
    reason: str = ""
    fields: tuple[FieldViolation, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    retryable: bool = False

    def __str__(self) -> str:
        return self.message


class InvalidRequest(JobWorkerError):
    """A value is not one that the API takes; `fields` says which, and why."""


class CommandNotStarted(JobWorkerError):
    """The command cannot be executed; `metadata["errno"]` has the errno's name, such as `ENOENT`."""


class JobNotFound(JobWorkerError):
    """The server knows no such job, or knows it no longer."""


class OffsetOutOfRange(JobWorkerError):
    """The offset to begin at is past the end of the job's output."""


class JobNotRunning(JobWorkerError):
    """The job would have to run for that, and has ended, or does not run yet."""


class LimitUnavailable(JobWorkerError):
    """The server cannot enforce a limit, and was not to run the job without it."""


class TooManyJobs(JobWorkerError):
    """As many jobs run as the server allows."""


class HostExhausted(JobWorkerError):
    """The server's host has no process, file, memory or space left for another job."""


class RequestIdReused(JobWorkerError):
    """The same request id came with another request before."""


class Unauthenticated(JobWorkerError):
    """The server cannot read our certificate."""


class RoleRequired(JobWorkerError):
    """Our certificate's role may not do this."""


class ReaderStalled(JobWorkerError):
    """The server cut us off, because we took nothing of a stream for too long."""


class ShuttingDown(JobWorkerError):
    """The server is about to end."""


class SupervisorUnavailable(JobWorkerError):
    """The server is being restarted."""


class DeadlineExceeded(JobWorkerError):
    """The call took longer than it was allowed to. The server may have done what it was asked for."""


class ConnectionLost(JobWorkerError):
    """The connection broke, and did not come back in time."""


class WrongOffset(JobWorkerError):
    """The server sent other bytes of the output than were due."""


class Cause(enum.StrEnum):
    """Why a server could not be reached."""

    REFUSED = "nobody listens there"
    NO_SUCH_HOST = "its name has no address"
    NOT_TLS = "what listens there speaks no TLS"
    UNTRUSTED = "its certificate is not of our CA"
    EXPIRED = "its certificate has expired, or is not valid yet"
    OTHER_NAME = "its certificate is for another name"
    CLOSED = "it closed the connection, as it does where it refuses our certificate"
    OUR_FILES = "our CA, certificate or key is not usable"
    OTHER = "something else; the message has gRPC's words for it"


@dataclass(eq=False)
class Unreachable(JobWorkerError):
    """No connection could be made; `cause` says why."""

    cause: Cause = Cause.OTHER


class AddressInvalid(JobWorkerError):
    """The server's address is not `HOST:PORT`."""


class CertificateUnusable(JobWorkerError):
    """A certificate or key file cannot be read or used; the message names the file and says why."""


BY_REASON: Mapping[str, type[JobWorkerError]] = MappingProxyType(
    {
        "INVALID_REQUEST": InvalidRequest,
        "COMMAND_NOT_STARTED": CommandNotStarted,
        "JOB_NOT_FOUND": JobNotFound,
        "OFFSET_OUT_OF_RANGE": OffsetOutOfRange,
        "JOB_NOT_RUNNING": JobNotRunning,
        "LIMIT_UNAVAILABLE": LimitUnavailable,
        "TOO_MANY_JOBS": TooManyJobs,
        "HOST_EXHAUSTED": HostExhausted,
        "REQUEST_ID_REUSED": RequestIdReused,
        "UNAUTHENTICATED": Unauthenticated,
        "ROLE_REQUIRED": RoleRequired,
        "READER_STALLED": ReaderStalled,
        "SHUTTING_DOWN": ShuttingDown,
        "SUPERVISOR_UNAVAILABLE": SupervisorUnavailable,
    }
)
"""The reasons of the API. A newer server's others are plain `JobWorkerError`s."""
