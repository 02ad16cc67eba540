"""The options that several commands have. Their help says what the setting is; its bounds are in
docs/configuration.md, and `settings` checks them.
"""

import enum
from pathlib import Path
from typing import Annotated

import typer


class Format(enum.StrEnum):
    """The form of a command's output."""

    TEXT = "text"
    JSON = "json"


def _number_or_auto(text: str) -> str:
    if text != "auto" and not text.isdecimal():
        raise typer.BadParameter(f"{text!r} is neither a number nor auto")
    return text


ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="TOML file with settings. [default: /opt/job-worker/config.toml, if it exists]",
    ),
]
Output = Annotated[Format, typer.Option("--output", "-o", help="text for people, json for programs.")]
Listen = Annotated[
    str | None,
    typer.Option(
        "--listen",
        metavar="HOST:PORT",
        help="Address to serve on; port 0 is any free one. [default: 0.0.0.0:50051]",
    ),
]
StateDir = Annotated[
    Path | None,
    typer.Option(
        "--state-dir",
        metavar="DIR",
        resolve_path=True,
        help="Directory of the jobs' output. [default: /opt/job-worker/state]",
    ),
]
CertsDir = Annotated[
    Path | None,
    typer.Option(
        "--certs-dir",
        metavar="DIR",
        resolve_path=True,
        help="Directory with ca.pem, server.pem and server-key.pem. [default: /opt/job-worker/certs]",
    ),
]
CgroupBase = Annotated[
    Path | None,
    typer.Option(
        "--cgroup-base",
        metavar="DIR",
        resolve_path=True,
        help="Directory of the jobs' cgroups. [default: /sys/fs/cgroup/job-worker]",
    ),
]
ApiProcesses = Annotated[
    str | None,
    typer.Option(
        "--api-processes",
        parser=_number_or_auto,
        metavar="N",
        help="Processes that serve clients; more use more cores, auto is one a core. [default: 1]",
    ),
]
MaxJobs = Annotated[
    int | None,
    typer.Option("--max-jobs", metavar="N", help="How many jobs may run at once. [default: 500]"),
]
LoggingLevel = Annotated[
    str | None,
    typer.Option(
        "--logging-level",
        metavar="LEVEL",
        help="Least severity in the server's log: debug, info, warning or error. [default: info]",
    ),
]
LoggingFormat = Annotated[
    str | None,
    typer.Option(
        "--logging-format",
        metavar="FORMAT",
        help="auto, json or console; auto is console on a terminal. [default: auto]",
    ),
]


def text(path: Path | None) -> str | None:
    """Returns a path as settings have it."""
    return None if path is None else str(path)
