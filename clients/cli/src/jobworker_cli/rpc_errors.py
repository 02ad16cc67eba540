"""From a failed call to the user's sentence: the one place that reads gRPC's and google.rpc's errors."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from google.rpc import error_details_pb2, status_pb2
from grpc import StatusCode
from grpc.aio import AioRpcError
from grpc_status import rpc_status

from jobworker_cli.errors import CliError, FieldViolation

__all__ = ["from_rpc"]

# The options that are not named like the fields that they set.
OPTIONS: Mapping[str, str] = MappingProxyType(
    {
        "command": "COMMAND",
        "args": "ARG",
        "id": "JOB",
        "id_prefix": "JOB",
        "working_directory": "--workdir",
        "limits_policy": "--strict",
        "labels": "--label",
        "statuses": "--status",
        "tail_lines": "--tail",
    }
)

HINTS: Mapping[str, str] = MappingProxyType(
    {
        "COMMAND_NOT_STARTED": "commands and directories are those of the server's host; a command's name is "
        "looked up in the job's PATH (--env PATH=...)",
        "JOB_NOT_FOUND": "`jobworker list` shows the jobs that the server knows",
        "JOB_NOT_RUNNING": "`jobworker list --status running` shows the jobs whose limits can be changed",
        "ROLE_REQUIRED": "--role admin, or --cert and --key, choose another certificate",
        "TOO_MANY_JOBS": "`jobworker list --status running` shows them, `jobworker stop` ends one",
        "LIMIT_UNAVAILABLE": "--best-effort runs the job without it; `jobworkerd doctor` on the server's "
        "host says what it lacks",
    }
)


@dataclass(frozen=True)
class ConnectionFailure:
    """What the C core says of a connection that could not be made, what it means, and what cures it.

    `passing` failures are worth another attempt: the server may be starting.
    """

    pattern: str
    meaning: str
    hint: str
    passing: bool = False


# Patterns of grpcio 1.85, the particular before the general.
CONNECTION_FAILURES = (
    ConnectionFailure(
        "CERTIFICATE_VERIFY_FAILED",
        "its certificate is not signed by our CA, or has expired",
        "--certs or --ca must name the CA that signed the server's certificate",
    ),
    ConnectionFailure(
        "Hostname Verification Check failed",
        "its certificate is for another name",
        "use a name that the certificate has, in --server or in --server-name",
    ),
    ConnectionFailure(
        "WRONG_VERSION_NUMBER",
        "something else than TLS is spoken there",
        "check --server (JOBWORKER_SERVER)",
    ),
    ConnectionFailure(
        "Failed to create security handshaker",
        "the CA, our certificate or its key is not usable",
        "the files must be PEM, and the key must belong to the certificate",
    ),
    ConnectionFailure("hostname lookup error", "there is no such host", "check --server (JOBWORKER_SERVER)"),
    ConnectionFailure(
        "Connection refused",
        "connection refused",
        "is it running there? --server (JOBWORKER_SERVER) says where to look",
        passing=True,
    ),
    # In TLS 1.3 our handshake is over before the server has looked at our certificate.
    ConnectionFailure(
        "Socket closed",
        "it closed the connection at once, as it does when it refuses our certificate",
        "--certs, or --cert and --key, must name a certificate that the server's CA signed",
        passing=True,
    ),
)


def from_rpc(error: AioRpcError, *, server: str) -> CliError:
    """Returns the error that tells the user of a failed call to `server` (`HOST:PORT`)."""
    status = _status(error)
    if status is not None and (known := _from_details(error, status)) is not None:
        return known
    code = error.code().name
    details = error.details() or "no details"
    if code == "UNAVAILABLE":
        return _unreachable(details, server)
    if code == "DEADLINE_EXCEEDED":
        return CliError(f"{server} did not answer in time", hint="--timeout allows for more", code=code)
    return CliError(details, code=code)


def _status(error: AioRpcError) -> status_pb2.Status | None:
    try:
        return rpc_status.from_call(error)
    except ValueError:
        # The details are not those of this status: a proxy has rewritten one of them.
        return None


def _from_details(error: AioRpcError, status: status_pb2.Status) -> CliError | None:
    info = error_details_pb2.ErrorInfo()
    bad_request = error_details_pb2.BadRequest()
    for detail in status.details:
        # Unpack does nothing where the detail is of another type.
        detail.Unpack(info)
        detail.Unpack(bad_request)
    if not info.reason:
        return None
    violations = tuple(
        FieldViolation(violation.field, _option(violation.field), violation.description)
        for violation in bad_request.field_violations
    )
    return CliError(
        _sentence(status, info, violations),
        hint=HINTS.get(info.reason, ""),
        code=error.code().name,
        reason=info.reason,
        metadata=dict(info.metadata),
        violations=violations,
        retryable=error.code() is StatusCode.UNAVAILABLE,
    )


def _sentence(
    status: status_pb2.Status,
    info: error_details_pb2.ErrorInfo,
    violations: tuple[FieldViolation, ...],
) -> str:
    if info.reason == "INVALID_REQUEST" and violations:
        return "; ".join(f"{violation.option}: {violation.description}" for violation in violations)
    return str(status.message)


def _option(field: str) -> str:
    """Returns the option that sets a field; a field's entry (`env[NAME]`) is set like the field."""
    name = field.partition("[")[0].partition(".")[0]
    return OPTIONS.get(name, f"--{name.replace('_', '-')}")


def _unreachable(details: str, server: str) -> CliError:
    if not details.startswith(("failed to connect", "errors resolving")):
        return CliError(
            f"lost the connection to jobworkerd at {server}: {details}",
            code="UNAVAILABLE",
            reason="CONNECTION_LOST",
            retryable=True,
        )
    failure = next((known for known in CONNECTION_FAILURES if known.pattern in details), None)
    if failure is None:
        failure = ConnectionFailure("", details, "check --server (JOBWORKER_SERVER)", passing=True)
    return CliError(
        f"cannot reach jobworkerd at {server}: {failure.meaning}",
        hint=failure.hint,
        code="UNAVAILABLE",
        reason="UNREACHABLE",
        retryable=failure.passing,
    )
