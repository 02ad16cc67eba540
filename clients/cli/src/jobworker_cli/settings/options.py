"""The options that several verbs share, and the reading of their values."""

import functools
import inspect
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from datetime import timedelta
from enum import StrEnum
from typing import Annotated

import typer

from jobworker_cli.output import Format
from jobworker_cli.render.units import parse_duration
from jobworker_cli.settings.completion import complete_job, complete_running_job
from jobworker_cli.settings.quantities import parse_bytes, parse_mebibytes, parse_percent

__all__ = [
    "COMMAND_SETTINGS",
    "Command",
    "Duration",
    "Interval",
    "JobOptions",
    "JobRef",
    "JobRefs",
    "LimitOptions",
    "NetworkName",
    "OutputFormat",
    "PreserveStatus",
    "Quiet",
    "duration_option",
    "is_unicode",
    "key_values",
    "variables",
    "with_options",
]

# Options end at the command's first word: what follows is the command's own (`ping -c 5`, `ls --help`).
COMMAND_SETTINGS = {"allow_interspersed_args": False}

Command = Annotated[
    list[str],
    typer.Argument(metavar="COMMAND", help="The command, followed by its own options and arguments."),
]
JobRef = Annotated[
    str,
    typer.Argument(metavar="JOB", help="The job's id, or its beginning.", autocompletion=complete_job),
]
JobRefs = Annotated[
    list[str],
    typer.Argument(
        metavar="JOB", help="The jobs' ids, or their beginnings.", autocompletion=complete_running_job
    ),
]
OutputFormat = Annotated[Format, typer.Option("--output", "-o", help="The form of the result.")]
PreserveStatus = Annotated[
    bool,
    typer.Option(
        "--preserve-status",
        help="Exit with the job's own code even if it ran into its timeout, not with 124.",
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print ids alone: -o id.")]


def duration_option(value: str | timedelta) -> timedelta:
    """Returns an option's duration; typer parses defaults, too, and shows the sentence if it is none."""
    if isinstance(value, timedelta):
        return value
    try:
        return parse_duration(value)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def amount_option(parse: Callable[[str], int], most: int) -> Callable[[str | int], int]:
    """Returns the reader of an option's amount from 0 to `most`, as `parse` understands it."""

    def amount(value: str | int) -> int:
        try:
            found = parse(str(value))
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None
        if not 0 <= found <= most:
            raise typer.BadParameter(f"{value} is out of range; use 0 to {most}")
        return found

    return amount


Duration = timedelta | None


def interval_option(value: str | timedelta) -> timedelta:
    """Returns an option's duration, which has to be one: without a pause the server would have no rest."""
    interval = duration_option(value)
    if not interval:
        raise typer.BadParameter("an interval is more than 0")
    return interval


Interval = Annotated[
    timedelta,
    typer.Option(
        "--interval", "-i", parser=interval_option, metavar="DURATION", help="How long to measure each time."
    ),
]


class NetworkName(StrEnum):
    """What a job has of the host's network."""

    HOST = "host"
    NONE = "none"


@dataclass(frozen=True, kw_only=True)
class LimitOptions:
    """The limits of a job, as options; the bounds are those of the API. None = not given."""

    max_cpu: Annotated[
        int | None,
        typer.Option(
            parser=amount_option(parse_percent, 100_000),
            metavar="CPU",
            show_default=False,
            help="Percent of one core (150 or 150%) or cores (1.5c or 1500m). 0 = the server's default.",
        ),
    ] = None
    max_memory: Annotated[
        int | None,
        typer.Option(
            parser=amount_option(parse_mebibytes, 16_777_216),
            metavar="SIZE",
            show_default=False,
            help="MiB (512), or with a unit (512M, 1.5G; powers of 1024). 0 = the server's default.",
        ),
    ] = None
    max_io_bps: Annotated[
        int | None,
        typer.Option(
            parser=amount_option(parse_bytes, 2**40),
            metavar="SIZE",
            show_default=False,
            help="Bytes per second (1048576), or with a unit (10M; powers of 1024), for reads and, "
            "separately, for writes of block devices. 0 = the server's default.",
        ),
    ] = None
    max_io_iops: Annotated[
        int | None,
        typer.Option(
            min=0,
            show_default=False,
            max=2**31,
            help="Operations per second, as --max-io-bps. 0 = the server's default.",
        ),
    ] = None
    max_pids: Annotated[
        int | None,
        typer.Option(
            min=0,
            show_default=False,
            max=4_194_304,
            help="Processes and threads at once. 0 = the server's default.",
        ),
    ] = None
    cpu_weight: Annotated[
        int | None,
        typer.Option(
            min=0,
            show_default=False,
            max=10_000,
            help="Share of the CPU where others want it, too. 0 = 100, as all others.",
        ),
    ] = None
    cpu_set: Annotated[
        str | None,
        typer.Option(
            metavar="CORES", show_default=False, help="The cores to run on, such as 0-1,3. '' = all."
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class JobOptions(LimitOptions):
    """What CreateJob takes besides the command, as options; the bounds are those of the API."""

    workdir: Annotated[
        str, typer.Option("--workdir", "-w", help="The directory to start in, on the server. Default: /")
    ] = ""
    env: Annotated[
        list[str] | None,
        typer.Option(
            "--env",
            "-e",
            metavar="NAME[=VALUE]",
            help="A variable for the command; without =VALUE, as it is here. Can be given again.",
        ),
    ] = None
    timeout: Annotated[
        Duration,
        typer.Option(
            parser=duration_option,
            metavar="DURATION",
            help="Stop the job after this time: 10s, 5m, 1h30m, or seconds.",
        ),
    ] = None
    label: Annotated[
        list[str] | None,
        typer.Option("--label", "-l", metavar="KEY=VALUE", help="A label for `list`. Can be given again."),
    ] = None
    stop_signal: Annotated[
        str, typer.Option(metavar="SIGNAL", help="The signal that asks the job to end. Default: SIGTERM")
    ] = ""
    stop_grace_period: Annotated[
        Duration,
        typer.Option(
            parser=duration_option,
            metavar="DURATION",
            help="How long a stopped job is left alive after that signal. Default: the server's",
        ),
    ] = None
    request_id: Annotated[
        str,
        typer.Option(
            metavar="ID", help="Makes a repeated create return the first one's job. Default: a new UUID"
        ),
    ] = ""
    strict: Annotated[
        bool | None,
        typer.Option(
            "--strict/--best-effort",
            help="Whether to run the job where a limit, or its isolation, cannot be enforced. "
            "Default: the server's policy",
        ),
    ] = None
    network: Annotated[
        NetworkName | None,
        typer.Option(help="What the job has of the host's network. Default: the server's (host)"),
    ] = None


def with_options(options: type[LimitOptions]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Returns a decorator that puts the fields of a class in the place of a verb's parameter `options`.

    typer reads a command's options off the function's signature, and several verbs have these.
    """
    names = [field.name for field in fields(options)]

    def decorated(verb: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(verb)
        def flat(**arguments: object) -> None:
            picked = {name: arguments.pop(name) for name in names}
            verb(options=options(**picked), **arguments)  # type: ignore[arg-type]  # by typer, as annotated

        own = inspect.signature(verb)
        parameters = [parameter for name, parameter in own.parameters.items() if name != "options"]
        parameters += inspect.signature(options).parameters.values()
        vars(flat)["__signature__"] = own.replace(parameters=parameters)
        return flat

    return decorated


def key_values(texts: Iterable[str], option: str) -> dict[str, str]:
    """Returns the pairs that `KEY=VALUE` options give; of equal keys the last wins."""
    pairs = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise typer.BadParameter(f"{text!r} is not KEY=VALUE", param_hint=option)
        pairs[key] = value
    return pairs


def variables(texts: Iterable[str]) -> dict[str, str]:
    """Returns the variables that `--env NAME=VALUE` and `--env NAME` (taken from here) give."""
    return key_values((_with_value(text) for text in texts), "--env")


def _with_value(text: str) -> str:
    if "=" in text or not text:
        return text
    if text not in os.environ:
        raise typer.BadParameter(f"{text} is not set here; give {text}=VALUE", param_hint="--env")
    if not is_unicode(os.environ[text]):
        raise typer.BadParameter(f"{text} is not UTF-8 here", param_hint="--env")
    return f"{text}={os.environ[text]}"


def is_unicode(text: str) -> bool:
    """Tells whether the text holds no bytes that Python could not decode (PEP 383)."""
    return not any("\udc80" <= char <= "\udcff" for char in text)
