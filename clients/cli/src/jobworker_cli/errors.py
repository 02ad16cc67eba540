"""What went wrong, as one sentence for people or one JSON object for programs, on stderr.

Everything that fails for a reason that the user can act on is a `CliError`; nothing else of gRPC or of
the operating system leaves the module where it happened.
"""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

from jobworker_cli.output import say

__all__ = ["CliError", "FieldViolation", "report"]


@dataclass(frozen=True)
class FieldViolation:
    """A value that the server refused: its field of the request, the option that sets it, and why."""

    field: str
    option: str
    description: str


@dataclass(eq=False)
class CliError(Exception):
    """Raised when the command cannot do what was asked; `message` is the user's sentence.

    `code` is the gRPC status's name and `reason`, `metadata` and `violations` are the server's details;
    they are empty where the error is not an answer of the server. `exit_code` is set where the exit code
    does not follow from the verb.
    """

    message: str
    hint: str = ""
    code: str = ""
    reason: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    violations: tuple[FieldViolation, ...] = ()
    exit_code: int | None = None

    def __str__(self) -> str:
        return self.message


def report(error: CliError, *, as_json: bool) -> None:
    """Writes the error to stderr."""
    if as_json:
        print(json.dumps({"error": _as_dict(error)}), file=sys.stderr)
        return
    tag = error.reason or error.code
    say(f"error: {error.message} ({tag})" if tag else f"error: {error.message}")
    if error.hint:
        say(f"hint: {error.hint}")


def _as_dict(error: CliError) -> dict[str, object]:
    details: dict[str, object] = {
        "message": error.message,
        "code": error.code,
        "reason": error.reason,
        "hint": error.hint,
        "metadata": dict(error.metadata),
        "violations": [vars(violation) for violation in error.violations],
    }
    return {name: value for name, value in details.items() if value}
