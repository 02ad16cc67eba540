"""Declares the options of the commands, and resolves the settings for the commands that need them."""

import enum
import functools
import inspect
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Concatenate, ParamSpec

import typer

from jobworkerd.settings.resolve import Settings, resolve_settings

_P = ParamSpec("_P")


class Format(enum.StrEnum):
    """The output format of a command."""

    TEXT = "text"
    JSON = "json"


def _number_or_auto(text: str) -> str:
    if text != "auto" and not text.isdecimal():
        raise typer.BadParameter(f"{text!r} is neither a number nor auto")
    return text


_CONFIG_FILE = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="TOML file with settings. [default: config.toml in /opt/job-worker, or of another user than "
        "root in ~/.config/job-worker]",
    ),
]
Output = Annotated[
    Format, typer.Option("--output", "-o", help="Output format: text for people, json for programs.")
]

FLAGS: Mapping[str, object] = MappingProxyType(
    {
        "listen": Annotated[
            str | None,
            typer.Option(
                "--listen",
                metavar="HOST:PORT",
                help="Listen address; port 0 selects a free port. [default: 0.0.0.0:50051]",
            ),
        ],
        "state_dir": Annotated[
            Path | None,
            typer.Option(
                "--state-dir",
                metavar="DIR",
                resolve_path=True,
                help="Directory of the jobs' output. [default: /opt/job-worker/state or, of another user "
                "than root, ~/.local/state/job-worker]",
            ),
        ],
        "certs_dir": Annotated[
            Path | None,
            typer.Option(
                "--certs-dir",
                metavar="DIR",
                resolve_path=True,
                help="Directory containing ca.pem, server.pem and server-key.pem. "
                "[default: /opt/job-worker/certs or, of another user than root, ~/.config/job-worker/certs]",
            ),
        ],
        "cgroup_base": Annotated[
            Path | None,
            typer.Option(
                "--cgroup-base",
                metavar="DIR",
                resolve_path=True,
                help="Directory of the jobs' cgroups. [default: /sys/fs/cgroup/job-worker]",
            ),
        ],
        "api.processes": Annotated[
            str | None,
            typer.Option(
                "--api-processes",
                parser=_number_or_auto,
                metavar="N",
                help="Number of API processes; auto starts one per core. [default: 1]",
            ),
        ],
        "max_jobs": Annotated[
            int | None,
            typer.Option("--max-jobs", metavar="N", help="Maximum number of running jobs. [default: 500]"),
        ],
        "max_queued": Annotated[
            int | None,
            typer.Option(
                "--max-queued", metavar="N", help="Maximum number of jobs in the queue. [default: 10000]"
            ),
        ],
        "logging.level": Annotated[
            str | None,
            typer.Option(
                "--logging-level",
                metavar="LEVEL",
                help="Lowest level in the server's log: debug, info, warning or error. [default: info]",
            ),
        ],
        "logging.format": Annotated[
            str | None,
            typer.Option(
                "--logging-format",
                metavar="FORMAT",
                help="Format of the server's log: auto, json or console; auto is console on a terminal. "
                "[default: auto]",
            ),
        ],
        "metrics.listen": Annotated[
            str | None,
            typer.Option(
                "--metrics-listen",
                metavar="HOST:PORT",
                help="Address of the Prometheus endpoint, such as 127.0.0.1:9464. Addresses other than "
                "loopback require a client certificate. [default: no endpoint]",
            ),
        ],
    }
)
"""The flags of settings by key. `resolve_settings` checks their values."""


def with_settings(
    *keys: str,
) -> Callable[[Callable[Concatenate[Settings, _P], None]], Callable[..., None]]:
    """Return a decorator that gives a command `--config` and the flags of some settings.

    The command gets the resolved settings as its first argument. Its other parameters stay options.
    """

    def decorate(command: Callable[Concatenate[Settings, _P], None]) -> Callable[..., None]:
        flags = {key.replace(".", "_"): key for key in keys}

        @functools.wraps(command)
        def resolved(config: Path | None, **values: object) -> None:
            given = {key: _as_setting(values.pop(name)) for name, key in flags.items()}
            command(resolve_settings(config, os.environ, given), **values)  # type: ignore[call-arg, arg-type]  # checked by typer

        signature = inspect.signature(command)
        own = list(signature.parameters.values())[1:]
        options = [
            _optional("config", _CONFIG_FILE),
            *(_optional(name, FLAGS[flags[name]]) for name in flags),
        ]
        resolved.__signature__ = signature.replace(parameters=[*options, *own])  # type: ignore[attr-defined]  # read by inspect
        return resolved

    return decorate


def _optional(name: str, annotation: object) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _as_setting(value: object) -> object:
    return str(value) if isinstance(value, Path) else value
