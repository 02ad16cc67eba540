"""From the client's error to the user's sentence: in the command's own words, and with what cures it."""

from collections.abc import Mapping
from types import MappingProxyType

from jobworker_cli.errors import CliError, FieldViolation
from jobworker_client import (
    AddressInvalid,
    Cause,
    CertificateUnusable,
    DeadlineExceeded,
    JobWorkerError,
    Unreachable,
)

__all__ = ["explained"]

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
        "COMMAND_NOT_STARTED": "files are those of the server's host, except in directories that are private "
        "to the job; a command's name is looked up in the job's PATH (--env PATH=...)",
        "JOB_NOT_FOUND": "`jobworker list` shows the jobs that the server knows",
        "JOB_NOT_RUNNING": "`jobworker list --status running` shows the jobs whose limits can be changed",
        "ROLE_REQUIRED": "--role admin, or --cert and --key, choose another certificate",
        "TOO_MANY_JOBS": "`jobworker list --status running` shows them, `jobworker stop` ends one",
        "LIMIT_UNAVAILABLE": "--best-effort runs the job without it; `jobworkerd doctor` on the server's "
        "host says what it lacks",
    }
)

CURES: Mapping[Cause, str] = MappingProxyType(
    {
        Cause.UNTRUSTED: "--certs or --ca must name the CA that signed the server's certificate",
        Cause.EXPIRED: "`jobworkerd certs issue server --role server --force` renews it on its host; "
        "compare the clocks, too",
        Cause.OTHER_NAME: "use a name that the certificate has, in --server or in --server-name",
        Cause.NOT_TLS: "check --server (JOBWORKER_SERVER)",
        Cause.OUR_FILES: "the files must be PEM, and the key must belong to the certificate",
        Cause.NO_SUCH_HOST: "check --server (JOBWORKER_SERVER)",
        Cause.REFUSED: "is it running there? --server (JOBWORKER_SERVER) says where to look",
        Cause.CLOSED: "--certs, or --cert and --key, must name a certificate that the server's CA signed",
        Cause.OTHER: "check --server (JOBWORKER_SERVER)",
    }
)


def explained(error: JobWorkerError, *, hint: str = "") -> CliError:
    """Returns the error for the user, with a hint of ours where the verb has no better one."""
    violations = tuple(
        FieldViolation(each.field, _option(each.field), each.description) for each in error.fields
    )
    return CliError(
        _sentence(error, violations),
        hint=hint or _hint(error),
        code=error.code,
        reason=error.reason,
        metadata=error.metadata,
        violations=violations,
    )


def _sentence(error: JobWorkerError, violations: tuple[FieldViolation, ...]) -> str:
    if error.reason == "INVALID_REQUEST" and violations:
        return "; ".join(f"{violation.option}: {violation.description}" for violation in violations)
    return error.message


def _option(field: str) -> str:
    """Returns the option that sets a field; a field's entry (`env[NAME]`) is set like the field."""
    name = field.partition("[")[0].partition(".")[0]
    return OPTIONS.get(name, f"--{name.replace('_', '-')}")


def _hint(error: JobWorkerError) -> str:
    match error:
        case Unreachable():
            return CURES[error.cause]
        case DeadlineExceeded():
            return "--timeout allows for more"
        case CertificateUnusable():
            return (
                "--certs (JOBWORKER_CERTS) names the directory with ca.pem, ROLE.pem and ROLE-key.pem; "
                "--ca, --cert and --key name single files"
            )
        case AddressInvalid():
            return "set --server (JOBWORKER_SERVER)"
    return HINTS.get(error.reason, "")
