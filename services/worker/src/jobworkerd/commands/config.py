"""`jobworkerd config`: prints the settings in force, and where each comes from."""

import json
import os
from collections.abc import Iterator

import typer

from jobworkerd.settings import resolve
from jobworkerd.settings.keys import Value, all_keys
from jobworkerd.settings.options import (
    ApiProcesses,
    CertsDir,
    CgroupBase,
    ConfigFile,
    Format,
    Listen,
    LoggingFormat,
    LoggingLevel,
    MaxJobs,
    Output,
    StateDir,
    text,
)


def config(  # noqa: PLR0913, PLR0917 - each parameter is a flag
    config: ConfigFile = None,
    listen: Listen = None,
    state_dir: StateDir = None,
    certs_dir: CertsDir = None,
    cgroup_base: CgroupBase = None,
    api_processes: ApiProcesses = None,
    max_jobs: MaxJobs = None,
    logging_level: LoggingLevel = None,
    logging_format: LoggingFormat = None,
    output: Output = Format.TEXT,
) -> None:
    """Print the settings in force and where each comes from, as a TOML file that could be used.

    It takes the flags of `serve` and starts nothing.
    """
    flags = {
        "listen": listen,
        "state_dir": text(state_dir),
        "certs_dir": text(certs_dir),
        "cgroup_base": text(cgroup_base),
        "api.processes": api_processes,
        "max_jobs": max_jobs,
        "logging.level": logging_level,
        "logging.format": logging_format,
    }
    found = resolve.load(config, os.environ, flags)
    typer.echo(_json(found) if output is Format.JSON else "\n".join(_toml(found)))


def _json(found: resolve.Settings) -> str:
    entries = {
        key.name: {"value": key.value(found.config), "source": found.sources[key.name]} for key in all_keys()
    }
    return json.dumps(entries, indent=2, ensure_ascii=False)


def _toml(found: resolve.Settings) -> Iterator[str]:
    table = ""
    for key in all_keys():
        if key.table != table:
            table = key.table
            yield f"\n[{table}]"
        yield f"{key.path[-1]} = {toml_value(key.value(found.config))}  # {found.sources[key.name]}"


def toml_value(value: Value) -> str:
    """Returns a value as TOML writes it: as JSON does, but for DEL, which TOML wants escaped."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
