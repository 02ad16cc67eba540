"""Convert errors of the client to errors of the command, with option names and hints."""

from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType

from jobworker_cli.errors import CliError, FieldViolation
from jobworker_cli.render.units import format_duration
from jobworker_cli.results import START_HINTS
from jobworker_client import (
    CertificateRevoked,
    CommandNotStarted,
    ConnectFailure,
    DeadlineExceeded,
    ErrorReason,
    InvalidAddress,
    InvalidCertificateFile,
    InvalidRequest,
    JobNotFinal,
    JobNotFound,
    JobNotRunning,
    JobWorkerError,
    LimitUnavailable,
    NodeUnreachable,
    QuotaExceeded,
    RoleRequired,
    ServerBusy,
    StdinInUse,
    TooManyJobs,
    Unreachable,
)

__all__ = ["fault_of", "to_cli_error"]

# Options whose name differs from the field that they set.
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
        "queue": "--queue-name",
        "created_after": "--since",
        "created_before": "--until",
        "command_contains": "--command",
    }
)

_SETTING = "the administrator of the server can change the setting"

HINTS: Mapping[type[JobWorkerError], str] = MappingProxyType(
    {
        CommandNotStarted: START_HINTS[ErrorReason.ERROR_REASON_COMMAND_NOT_STARTED],
        JobNotFound: "`jobworker list` shows the jobs of the server",
        JobNotFinal: "stop the job with `jobworker stop`, or wait for its end with `jobworker wait`",
        JobNotRunning: "`jobworker list --status running` shows the jobs whose limits can be changed",
        CertificateRevoked: "ask the administrator of the server for a new certificate, and select it with "
        "--certs, or with --cert and --key",
        RoleRequired: "select another certificate with --role admin, or with --cert and --key",
        TooManyJobs: "`jobworker list --status running` shows the running jobs, "
        "`jobworker queue` the waiting ones",
        NodeUnreachable: "`jobworker nodes` shows the state of the nodes",
        QuotaExceeded: _SETTING,
        ServerBusy: _SETTING,
        LimitUnavailable: START_HINTS[ErrorReason.ERROR_REASON_LIMIT_UNAVAILABLE],
        StdinInUse: "use `jobworker attach --take-over` to feed it in place of the other client",
        DeadlineExceeded: "increase --timeout",
        InvalidAddress: "set --server (JOBWORKER_SERVER)",
        InvalidCertificateFile: "set --certs (JOBWORKER_CERTS) to the directory with ca.pem, ROLE.pem and "
        "ROLE-key.pem, or --ca, --cert and --key to single files",
    }
)

CONNECT_HINTS: Mapping[ConnectFailure, str] = MappingProxyType(
    {
        ConnectFailure.UNTRUSTED: "set --certs or --ca to the CA that signed the server's certificate",
        ConnectFailure.EXPIRED: "renew it with `jobworkerd certs renew server` on the host that has "
        "ca-key.pem; also compare the clocks of both hosts",
        ConnectFailure.OTHER_NAME: "set --server or --server-name to a name in the certificate",
        ConnectFailure.NOT_TLS: "check --server (JOBWORKER_SERVER)",
        ConnectFailure.CLIENT_FILES: "use PEM files, and the key that belongs to the certificate",
        ConnectFailure.NO_SUCH_HOST: "check --server (JOBWORKER_SERVER)",
        ConnectFailure.REFUSED: "start jobworkerd, or the gateway of the cluster, there; or check --server "
        "(JOBWORKER_SERVER)",
        ConnectFailure.CLOSED: "set --certs, or --cert and --key, to a certificate of the server's CA",
        ConnectFailure.OTHER: "check --server (JOBWORKER_SERVER)",
    }
)


def fault_of(error: Exception) -> str:
    """Return the message of an error without the remedy, which is after the last semicolon."""
    message = str(error)
    return message.rpartition("; ")[0] or message


def to_cli_error(error: JobWorkerError, *, hint: str = "") -> CliError:
    """Return the error to report. `hint` replaces the default hint."""
    violations = tuple(
        FieldViolation(each.field, _option(each.field), each.description) for each in error.fields
    )
    return CliError(
        _message(error, violations),
        hint=hint or _hint(error),
        code=error.code,
        reason=error.reason,
        metadata=error.metadata,
        retry_delay=error.retry_delay,
        violations=violations,
    )


def _message(error: JobWorkerError, violations: tuple[FieldViolation, ...]) -> str:
    if isinstance(error, InvalidRequest) and violations:
        return "; ".join(f"{violation.option}: {violation.description}" for violation in violations)
    return error.message


def _option(field: str) -> str:
    """Return the option that sets a field, or an entry of it such as `env[NAME]`."""
    name = field.partition("[")[0].partition(".")[0]
    return OPTIONS.get(name, f"--{name.replace('_', '-')}")


def _hint(error: JobWorkerError) -> str:
    if isinstance(error, Unreachable):
        return CONNECT_HINTS[error.cause]
    hint = HINTS.get(type(error), "")
    # Not if the queue is full, or if the cluster is: there, each job waits in the queue.
    if isinstance(error, TooManyJobs) and "queue_timeout" in error.metadata.get("remedy", ""):
        return f"use --queue to let the job wait; {hint}"
    if isinstance(error, QuotaExceeded | ServerBusy) and error.retry_delay:
        return f"retry after {format_duration(timedelta(seconds=error.retry_delay))}; {hint}"
    return hint
