"""One tree of exceptions: catch `JobWorkerError`, or a subclass that the program can handle.

Every failed call raises one of these. No exception of gRPC leaves this package.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from jobworker.v1.error_reason_pb2 import ErrorReason

__all__ = [
    "BY_REASON",
    "CertificateRevoked",
    "ClientReason",
    "ClusterRefused",
    "ClusterUnavailable",
    "CommandNotStarted",
    "ConfigError",
    "ConnectFailure",
    "ConnectionLost",
    "DeadlineExceeded",
    "FieldViolation",
    "HostExhausted",
    "InvalidAddress",
    "InvalidCertificateFile",
    "InvalidRequest",
    "JobNotFinal",
    "JobNotFound",
    "JobNotRunning",
    "JobWorkerError",
    "LimitUnavailable",
    "MessageTooLarge",
    "NodeUnreachable",
    "OffsetOutOfRange",
    "QuotaExceeded",
    "ReaderStalled",
    "RequestIdReused",
    "RoleRequired",
    "ServerBusy",
    "ShuttingDown",
    "StatusLost",
    "SupervisorUnavailable",
    "TooManyJobs",
    "Unauthenticated",
    "UnexpectedOffset",
    "Unreachable",
    "parse_reason",
    "reason_name",
]

_PREFIX = "ERROR_REASON_"


class ClientReason(enum.StrEnum):
    """The reasons that the client adds to those of the API."""

    UNREACHABLE = "UNREACHABLE"
    CONNECTION_LOST = "CONNECTION_LOST"
    UNEXPECTED_OFFSET = "UNEXPECTED_OFFSET"


def reason_name(reason: ErrorReason.ValueType) -> str:
    """Return the text of a reason in `JobWorkerError.reason`, such as `JOB_NOT_FOUND`."""
    return ErrorReason.Name(reason).removeprefix(_PREFIX)


def parse_reason(name: str) -> ErrorReason.ValueType:
    """Return the reason with a name; `ERROR_REASON_UNSPECIFIED` if the enum lacks it."""
    try:
        return ErrorReason.Value(_PREFIX + name)
    except ValueError:  # a reason of a newer server, or of the client
        return ErrorReason.ERROR_REASON_UNSPECIFIED


@dataclass(frozen=True)
class FieldViolation:
    """A refused value: the field of the request (`max_cpu`, `env["A B"]`) and the reason in one sentence."""

    field: str
    description: str


@dataclass(eq=False)
class JobWorkerError(Exception):
    """A call failed.

    Attributes:
        message: a sentence for people.
        code: the name of the gRPC status (`NOT_FOUND`). Empty if the call was not made.
        reason: the machine-readable reason (`JOB_NOT_FOUND`): a name of the API's `ErrorReason`, a
            `ClientReason`, or a reason that only a newer server knows. Empty if the failure has no name.
        fields: the refused values, if the server refused any.
        metadata: the details from the server (https://google.aip.dev/193), such as `job_id` or `errno`.
        retryable: the same call may succeed later. The client has already retried it.
        retry_delay: the seconds after which the server expects a retry to succeed; 0 if it names none. The
            client retries only `retryable` errors.
        retries: the number of attempts of the call that had failed before this one.
    """

    message: str
    code: str = ""
    reason: str = ""
    fields: tuple[FieldViolation, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    retryable: bool = False
    retries: int = 0
    retry_delay: float = 0.0

    def __str__(self) -> str:
        return self.message

    @property
    def error_reason(self) -> ErrorReason.ValueType:
        """The reason as a value of the API's enum; `ERROR_REASON_UNSPECIFIED` if the enum lacks it."""
        return parse_reason(self.reason)


class InvalidRequest(JobWorkerError):
    """The server refused a value; `fields` names the field and the reason."""


class CommandNotStarted(JobWorkerError):
    """The command cannot be executed; `metadata["errno"]` is the name of the errno, such as `ENOENT`."""


class JobNotFound(JobWorkerError):
    """No job has this id, or its record was deleted."""


class OffsetOutOfRange(JobWorkerError):
    """The start offset is past the end of the job's output."""


class NoStdin(JobWorkerError):
    """The call sends input, but the job was created without an open stdin."""


class StdinInUse(JobWorkerError):
    """Another client feeds the stdin of the job, or has taken it over."""


class InputOffsetOutOfRange(JobWorkerError):
    """The input would have a gap; `metadata["accepted"]` is the position from which to continue."""


class JobNotRunning(JobWorkerError):
    """The call needs a running job; this one has ended or has not started yet."""


class JobNotFinal(JobWorkerError):
    """The call needs a job that has ended; `metadata["status"]` is the status of this one."""


class LimitUnavailable(JobWorkerError):
    """The server cannot enforce a limit, and the limits policy is strict."""


class TooManyJobs(JobWorkerError):
    """The server already runs the maximum number of jobs."""


class MessageTooLarge(JobWorkerError):
    """A request with too many bytes; `metadata["max_bytes"]` is the accepted size, 0 if it is not known."""


class QuotaExceeded(JobWorkerError):
    """A bound on each client, which this client would exceed; `metadata["quota"]` is the server's setting."""


class ServerBusy(JobWorkerError):
    """A bound on all clients together; `metadata["setting"]` is the server's setting."""


class HostExhausted(JobWorkerError):
    """The host of the server has no process, file descriptor, memory or disk space left for the call."""


class RequestIdReused(JobWorkerError):
    """The request id was already used with a different request."""


class Unauthenticated(JobWorkerError):
    """The server does not accept the client's certificate."""


class CertificateRevoked(JobWorkerError):
    """The server has revoked the client's certificate or the certificate of one of its issuers."""


class RoleRequired(JobWorkerError):
    """The role in the client's certificate does not permit the call."""


class ReaderStalled(JobWorkerError):
    """The server closed the stream because the client did not read for too long."""


class ShuttingDown(JobWorkerError):
    """The server is shutting down."""


class SupervisorUnavailable(JobWorkerError):
    """The server is restarting."""


class NodeUnreachable(JobWorkerError):
    """The gateway cannot reach the node of the job; `metadata["node"]` is its name."""


class ClusterUnavailable(JobWorkerError):
    """The gateway cannot reach the control plane of the cluster, or its database."""


class ClusterRefused(JobWorkerError):
    """The control plane of the cluster does not accept what the gateway requests. A retry fails, too."""


class DeadlineExceeded(JobWorkerError):
    """The call exceeded its deadline. The server may have carried it out nevertheless."""


class ConnectionLost(JobWorkerError):
    """The connection broke, and the client could not reconnect in time."""


class StatusLost(ConnectionLost):
    """The server ended the call, but gRPC does not know with which status. The next call gets it.

    A job that ends before it has read all of its input is the usual cause.
    """


class UnexpectedOffset(JobWorkerError):
    """The server sent output at another offset than the client expected."""


class ConnectFailure(enum.StrEnum):
    """The cause of a connection that could not be established."""

    REFUSED = "connection refused"
    NO_SUCH_HOST = "the host name does not resolve"
    NOT_TLS = "the server does not use TLS"
    UNTRUSTED = "another CA signed the server's certificate"
    EXPIRED = "the server's certificate has expired or is not valid yet"
    OTHER_NAME = "the server's certificate is for another name"
    CLOSED = "the server closed the connection, as it does for a client certificate that it refuses"
    CLIENT_FILES = "the CA, certificate or key of the client is not usable"
    OTHER = "other; the message quotes gRPC"


@dataclass(eq=False)
class Unreachable(JobWorkerError):
    """The client could not connect; `cause` is the reason."""

    cause: ConnectFailure = ConnectFailure.OTHER


class ConfigError(JobWorkerError):
    """The configuration of the connection is not usable."""


class InvalidAddress(ConfigError):
    """The address of the server is not `HOST:PORT`."""


class InvalidCertificateFile(ConfigError):
    """A certificate or key file cannot be read or used; the message names the file and the fault."""


BY_REASON: Mapping[ErrorReason.ValueType, type[JobWorkerError]] = MappingProxyType(
    {
        ErrorReason.ERROR_REASON_INVALID_REQUEST: InvalidRequest,
        ErrorReason.ERROR_REASON_COMMAND_NOT_STARTED: CommandNotStarted,
        ErrorReason.ERROR_REASON_JOB_NOT_FOUND: JobNotFound,
        ErrorReason.ERROR_REASON_OFFSET_OUT_OF_RANGE: OffsetOutOfRange,
        ErrorReason.ERROR_REASON_NO_STDIN: NoStdin,
        ErrorReason.ERROR_REASON_STDIN_IN_USE: StdinInUse,
        ErrorReason.ERROR_REASON_INPUT_OFFSET_OUT_OF_RANGE: InputOffsetOutOfRange,
        ErrorReason.ERROR_REASON_JOB_NOT_RUNNING: JobNotRunning,
        ErrorReason.ERROR_REASON_JOB_NOT_FINAL: JobNotFinal,
        ErrorReason.ERROR_REASON_LIMIT_UNAVAILABLE: LimitUnavailable,
        ErrorReason.ERROR_REASON_TOO_MANY_JOBS: TooManyJobs,
        ErrorReason.ERROR_REASON_MESSAGE_TOO_LARGE: MessageTooLarge,
        ErrorReason.ERROR_REASON_QUOTA_EXCEEDED: QuotaExceeded,
        ErrorReason.ERROR_REASON_SERVER_BUSY: ServerBusy,
        ErrorReason.ERROR_REASON_HOST_EXHAUSTED: HostExhausted,
        ErrorReason.ERROR_REASON_REQUEST_ID_REUSED: RequestIdReused,
        ErrorReason.ERROR_REASON_UNAUTHENTICATED: Unauthenticated,
        ErrorReason.ERROR_REASON_CERTIFICATE_REVOKED: CertificateRevoked,
        ErrorReason.ERROR_REASON_ROLE_REQUIRED: RoleRequired,
        ErrorReason.ERROR_REASON_READER_STALLED: ReaderStalled,
        ErrorReason.ERROR_REASON_SHUTTING_DOWN: ShuttingDown,
        ErrorReason.ERROR_REASON_SUPERVISOR_UNAVAILABLE: SupervisorUnavailable,
        ErrorReason.ERROR_REASON_NODE_UNREACHABLE: NodeUnreachable,
        ErrorReason.ERROR_REASON_CLUSTER_UNAVAILABLE: ClusterUnavailable,
        ErrorReason.ERROR_REASON_CLUSTER_REFUSED: ClusterRefused,
    }
)
"""The error class of each reason. An unknown reason of a newer server becomes a plain `JobWorkerError`."""
