"""`jobworkerd doctor`: says what this host offers, which limits jobs will have, and what isolation."""

import os
from itertools import groupby
from typing import TYPE_CHECKING

import msgspec
import typer

from jobworkerd.settings import resolve
from jobworkerd.settings.options import CertsDir, CgroupBase, ConfigFile, Format, Output, text

if TYPE_CHECKING:
    from jobworkerd.diagnostics.host import Finding


def doctor(
    config: ConfigFile = None,
    certs_dir: CertsDir = None,
    cgroup_base: CgroupBase = None,
    output: Output = Format.TEXT,
) -> None:
    """Say what this host offers: cgroups, kernel, disks and certificates, and what jobs will have of it.

    It changes nothing. It exits with 0 if every limit and all of the isolation will be in force, else with 1.
    """
    from jobworkerd.diagnostics import host

    flags = {"certs_dir": text(certs_dir), "cgroup_base": text(cgroup_base)}
    found = host.diagnose(resolve.load(config, os.environ, flags).config)
    if output is Format.JSON:
        typer.echo(msgspec.json.format(msgspec.json.encode(found)))
    else:
        typer.echo("\n\n".join(_sections(found)))
    promised = (host.LIMITS, host.ISOLATION)
    if not all(finding.ok for finding in found if finding.section in promised):
        raise typer.Exit(1)


def _sections(found: "list[Finding]") -> list[str]:
    return [
        "\n".join([section, *(_line(finding) for finding in findings)])
        for section, findings in groupby(found, key=lambda finding: finding.section)
    ]


def _line(finding: "Finding") -> str:
    return f"  {'ok' if finding.ok else 'NO'}  {finding.name:<14} {finding.text}"
