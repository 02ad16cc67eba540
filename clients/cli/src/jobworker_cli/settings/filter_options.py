"""Options that select jobs, for `list` and `prune`."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

import typer
from typer.models import OptionInfo

__all__ = ["FilterOptions", "FinalStatus", "Labels", "status_names", "status_option"]


class Status(StrEnum):
    """Values of `--status`."""

    QUEUED = "queued"
    INITIALIZING = "initializing"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    STOPPED = "stopped"
    LOST = "lost"


class FinalStatus(StrEnum):
    """Values of `--status` where only ended jobs count."""

    COMPLETED = "completed"
    FAILED = "failed"
    STOPPED = "stopped"
    LOST = "lost"


def status_option(default: str) -> OptionInfo:
    """Return the option `--status`, whose help names the default."""
    text = f"Status of the jobs. Can be repeated: any of them. Default: {default}"
    option: OptionInfo = typer.Option("--status", "-s", case_sensitive=False, help=text)
    return option


def status_names(statuses: Iterable[StrEnum]) -> list[str]:
    """Return the names of statuses in the API."""
    return [f"JOB_STATUS_{each.name}" for each in statuses]


Labels = Annotated[
    list[str] | None,
    typer.Option(
        "--label", "-l", metavar="KEY=VALUE", help="Label of the jobs. Can be repeated: all of them."
    ),
]


@dataclass(frozen=True, kw_only=True)
class FilterOptions:
    """The options of `list` that select jobs."""

    status: Annotated[list[Status] | None, status_option("all statuses")] = None
    label: Labels = None
    owner: Annotated[
        str,
        typer.Option(
            metavar="SUBJECT", help="Owner of the jobs: a certificate's subject, as `get` prints it."
        ),
    ] = ""
    since: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Only jobs created at this time or later: a duration before now (5m) or a time (RFC 3339).",
        ),
    ] = None
    until: Annotated[
        str | None, typer.Option(metavar="TIME", help="Only jobs created before this time, as in --since.")
    ] = None
    command: Annotated[str, typer.Option(metavar="TEXT", help="Text in the command line of the jobs.")] = ""
