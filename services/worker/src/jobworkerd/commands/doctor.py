"""`jobworkerd doctor`: prints which limits and which isolation this host can enforce."""

from itertools import groupby
from typing import TYPE_CHECKING

import msgspec
import typer

from jobworkerd.settings.options import Format, Output, with_settings
from jobworkerd.settings.resolve import Settings

if TYPE_CHECKING:
    from jobworkerd.diagnostics.host import Finding


@with_settings("certs_dir", "cgroup_base")
def doctor(settings: Settings, *, output: Output = Format.TEXT) -> None:
    """Check which limits and which isolation this host can enforce.

    Checks cgroups, kernel, disks and certificates, and changes nothing. Exits with 0 if all limits and all
    parts of the isolation can be enforced, else with 1.
    """
    from jobworkerd.diagnostics import host

    findings = host.diagnose(settings.config)
    if output is Format.JSON:
        typer.echo(msgspec.json.format(msgspec.json.encode(findings)))
    else:
        typer.echo("\n\n".join(_sections(findings)))
    required = (host.LIMITS, host.ISOLATION)
    if not all(finding.ok for finding in findings if finding.section in required):
        raise typer.Exit(1)


def _sections(findings: "list[Finding]") -> list[str]:
    return [
        "\n".join([section, *(_line(finding) for finding in each)])
        for section, each in groupby(findings, key=lambda finding: finding.section)
    ]


def _line(finding: "Finding") -> str:
    return f"  {'ok' if finding.ok else 'NO'}  {finding.name:<14} {finding.text}"
