"""Errors of the command, printed to stderr as text or as one JSON object."""

import enum
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

from jobworker_cli.output import print_message

__all__ = ["CliError", "CliReason", "FieldViolation", "describe_os_error", "print_error"]


class CliReason(enum.StrEnum):
    """The reasons that the command adds to those of the API and of the client."""

    AMBIGUOUS_ID = "AMBIGUOUS_ID"
    JOB_LOST = "JOB_LOST"


@dataclass(frozen=True)
class FieldViolation:
    """A refused value: the field of the request, the option that sets the field, and the reason."""

    field: str
    option: str
    description: str


@dataclass(eq=False)
class CliError(Exception):
    """A failure that the user can act on.

    Attributes:
        message: one sentence for the user.
        hint: the remedy, if there is one.
        code: the name of the gRPC status; empty if the server did not answer.
        reason: the machine-readable reason: of the API, of the client, or a `CliReason`.
        metadata: the details from the server.
        retry_delay: the seconds after which the server expects a retry to succeed; 0 if it names none.
        violations: the refused values.
        exit_code: overrides the exit code of the subcommand.
    """

    message: str
    hint: str = ""
    code: str = ""
    reason: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    retry_delay: float = 0.0
    violations: tuple[FieldViolation, ...] = ()
    exit_code: int | None = None

    def __str__(self) -> str:
        return self.message


def print_error(error: CliError, *, as_json: bool) -> None:
    """Print the error to stderr."""
    if as_json:
        print(json.dumps({"error": _as_dict(error)}), file=sys.stderr)
        return
    tag = error.reason or error.code
    print_message(f"error: {error.message} ({tag})" if tag else f"error: {error.message}")
    if error.hint:
        print_message(f"hint: {error.hint}")


def describe_os_error(error: OSError) -> str:
    """Return the file, if there is one, and the reason without the errno."""
    return ": ".join(str(part) for part in (error.filename, error.strerror or error) if part)


def _as_dict(error: CliError) -> dict[str, object]:
    details: dict[str, object] = {
        "message": error.message,
        "code": error.code,
        "reason": error.reason,
        "hint": error.hint,
        "metadata": dict(error.metadata),
        "retry_delay": error.retry_delay,
        "violations": [vars(violation) for violation in error.violations],
    }
    return {name: value for name, value in details.items() if value}
