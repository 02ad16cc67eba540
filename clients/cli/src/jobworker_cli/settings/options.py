"""Arguments and options that several subcommands share, and their parsers."""

import functools
import inspect
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from jobworker_cli.output import Format
from jobworker_cli.render.units import parse_duration
from jobworker_cli.settings.completion import (
    complete_final_job,
    complete_job,
    complete_node_label,
    complete_running_job,
)
from jobworker_cli.settings.limit_options import LimitOptions, amount_option
from jobworker_cli.settings.quantities import parse_mebibytes
from jobworker_cli.settings.stream_options import DetachKeys

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = [
    "COMMAND_SETTINGS",
    "Command",
    "Duration",
    "FinalJobRefs",
    "Interval",
    "JobOptions",
    "JobRef",
    "JobRefs",
    "LimitOptions",
    "NetworkName",
    "OutputFormat",
    "PreserveStatus",
    "Quiet",
    "environment_variables",
    "is_unicode",
    "key_values",
    "parse_duration_option",
    "with_options",
]

# Options end at the first word of the job's command (`ping -c 5`, `ls --help`).
COMMAND_SETTINGS = {"allow_interspersed_args": False}

Command = Annotated[
    list[str],
    typer.Argument(metavar="COMMAND", help="Command of the job, with its own options and arguments."),
]
JobRef = Annotated[
    str,
    typer.Argument(metavar="JOB", help="Job id, or a unique prefix of one.", autocompletion=complete_job),
]
JobRefs = Annotated[
    list[str],
    typer.Argument(
        metavar="JOB", help="Job ids, or unique prefixes of them.", autocompletion=complete_running_job
    ),
]
FinalJobRefs = Annotated[
    list[str],
    typer.Argument(
        metavar="JOB", help="Job ids, or unique prefixes of them.", autocompletion=complete_final_job
    ),
]
OutputFormat = Annotated[Format, typer.Option("--output", "-o", help="Output format.")]
PreserveStatus = Annotated[
    bool,
    typer.Option(
        "--preserve-status",
        help="Exit with the job's own exit code after a timeout or an eviction, instead of 124 or 125.",
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only ids, as with -o id.")]


def parse_duration_option(value: str | timedelta) -> timedelta:
    """Parse a duration; typer also passes the default, which is already parsed."""
    if isinstance(value, timedelta):
        return value
    try:
        return parse_duration(value)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def parse_interval_option(value: str | timedelta) -> timedelta:
    """Parse a duration above 0, because without a pause the command would overload the server."""
    interval = parse_duration_option(value)
    if not interval:
        raise typer.BadParameter("0 is too short; use an interval such as 500ms or 2s")
    return interval


Duration = timedelta | None

Interval = Annotated[
    timedelta,
    typer.Option(
        "--interval",
        "-i",
        parser=parse_interval_option,
        metavar="DURATION",
        show_default="1s",
        help="Duration of each measurement.",
    ),
]


class NetworkName(StrEnum):
    """Networks that a job can have."""

    HOST = "host"
    NONE = "none"


@dataclass(frozen=True, kw_only=True)
class JobOptions(LimitOptions):
    """The options of `create` and `run`."""

    workdir: Annotated[
        str,
        typer.Option(
            "--workdir",
            "-w",
            metavar="DIR",
            help="Working directory on the server. Default: the job's private directory, or / if it has none",
        ),
    ] = ""
    env: Annotated[
        list[str] | None,
        typer.Option(
            "--env",
            "-e",
            metavar="NAME[=VALUE]",
            help="Environment variable of the job; without =VALUE, the local value. Can be repeated.",
        ),
    ] = None
    timeout: Annotated[
        Duration,
        typer.Option(
            parser=parse_duration_option,
            metavar="DURATION",
            help="Time after which the server stops the job: 10s, 5m, 1h30m, or seconds. Default: none",
        ),
    ] = None
    label: Annotated[
        list[str] | None,
        typer.Option("--label", "-l", metavar="KEY=VALUE", help="Label of the job. Can be repeated."),
    ] = None
    stop_signal: Annotated[
        str, typer.Option(metavar="SIGNAL", help="Signal that asks the job to exit. Default: SIGTERM")
    ] = ""
    stop_grace_period: Annotated[
        Duration,
        typer.Option(
            parser=parse_duration_option,
            metavar="DURATION",
            help="Time between the stop signal and SIGKILL. Default: the server's",
        ),
    ] = None
    request_id: Annotated[
        str,
        typer.Option(
            metavar="ID",
            help="Idempotency key: a second call with the same id returns the first job. Default: a new UUID",
        ),
    ] = ""
    strict: Annotated[
        bool | None,
        typer.Option(
            "--strict/--best-effort",
            help="Policy for limits and isolation that the server cannot enforce: refuse or run the job. "
            "Default: the server's policy",
        ),
    ] = None
    network: Annotated[
        NetworkName | None,
        typer.Option(help="Network of the job. Default: the server's (host)"),
    ] = None
    scratch: Annotated[
        int | None,
        amount_option(
            parse_mebibytes,
            16_777_216,
            "SIZE",
            "Bound on the job's private directories (home, /tmp, /var/tmp and /dev/shm) together, in MiB "
            "(512), or with a unit (2G). 0 = the server's default.",
        ),
    ] = None
    queue: Annotated[
        bool,
        typer.Option("--queue", help="Let the job wait in the queue if the server has no room for it."),
    ] = False
    queue_timeout: Annotated[
        Duration,
        typer.Option(
            parser=parse_duration_option,
            metavar="DURATION",
            help="Maximum time in the queue; implies --queue. Default: 365d, which is the maximum",
        ),
    ] = None
    priority: Annotated[
        int,
        typer.Option(
            min=-100, max=100, show_default=False, help="Place in the queue; higher numbers start first."
        ),
    ] = 0
    queue_name: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="Queue of the cluster. Only for a gateway. Default: its default queue"
        ),
    ] = ""
    node_selector: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            help="Label of the nodes that can run the job. Can be repeated: all of them. Only for a gateway.",
            autocompletion=complete_node_label,
        ),
    ] = None
    retry_on_lost: Annotated[
        bool,
        typer.Option(
            "--retry-on-lost",
            help="Start the job again if the cluster loses its node, or evicts it. Only for a gateway.",
        ),
    ] = False


@dataclass(frozen=True, kw_only=True)
class RunOptions(JobOptions):
    """The options of `run`."""

    interactive: Annotated[
        bool, typer.Option("--interactive", "-i", help="Pass stdin to the job. Its end ends the job's stdin.")
    ] = False
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Print the id of the job and exit; the job keeps running.")
    ] = False
    terminal: Annotated[
        bool,
        typer.Option(
            "--terminal",
            "-t",
            help="Give the job a terminal, so that it writes whole lines at once; -it passes it the keys.",
        ),
    ] = False
    detach_keys: DetachKeys = "~."
    upload: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATH[:DEST]",
            help="Local file or directory to copy to the job. Default DEST: its name, in the job's working "
            "directory. Can be repeated.",
        ),
    ] = None
    download: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATH[:DEST]",
            help="File or directory of the job to copy back. Default DEST: its name, in the current "
            "directory. Can be repeated.",
        ),
    ] = None
    preserve_status: PreserveStatus = False


def with_options(options: type["DataclassInstance"]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that replaces the parameter `options` by the fields of a class.

    typer reads the options of a subcommand from the signature of its function.
    """
    names = [field.name for field in fields(options)]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def with_fields(**arguments: object) -> None:
            values = {name: arguments.pop(name) for name in names}
            command(options=options(**values), **arguments)

        signature = inspect.signature(command)
        parameters = [parameter for name, parameter in signature.parameters.items() if name != "options"]
        parameters += inspect.signature(options).parameters.values()
        vars(with_fields)["__signature__"] = signature.replace(parameters=parameters)
        return with_fields

    return decorate


def key_values(texts: Iterable[str], option: str) -> dict[str, str]:
    """Parse `KEY=VALUE` options; the last value of a key wins."""
    pairs = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise typer.BadParameter(f"{text!r} is not KEY=VALUE", param_hint=option)
        pairs[key] = value
    return pairs


def environment_variables(texts: Iterable[str]) -> dict[str, str]:
    """Parse `--env NAME=VALUE`, and `--env NAME` with the local value."""
    return key_values((_with_value(text) for text in texts), "--env")


def _with_value(text: str) -> str:
    if "=" in text or not text:
        return text
    if text not in os.environ:
        raise typer.BadParameter(
            f"{text} is not set in the local environment; use {text}=VALUE", param_hint="--env"
        )
    if not is_unicode(os.environ[text]):
        raise typer.BadParameter(f"the local value of {text} is not UTF-8", param_hint="--env")
    return f"{text}={os.environ[text]}"


def is_unicode(text: str) -> bool:
    """Tell whether the text has no bytes that Python could not decode (PEP 383)."""
    return not any("\udc80" <= char <= "\udcff" for char in text)
