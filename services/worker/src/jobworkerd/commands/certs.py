"""`jobworkerd certs`: creates, renews, revokes and shows certificates.

Modules that need the cryptography package are imported when a command runs. `serve`, in the same program,
starts faster without them.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from jobworkerd.certs.roles import Role
from jobworkerd.settings.options import Format, Output
from jobworkerd.settings.resolve import resolve_settings

if TYPE_CHECKING:
    from jobworkerd.certs.inspection import Description

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

Directory = Annotated[
    Path | None,
    typer.Option(
        "--dir",
        metavar="DIR",
        resolve_path=True,
        help="Directory of the certificates. [default: the setting certs_dir, /opt/job-worker/certs]",
    ),
]
Hosts = Annotated[
    list[str] | None,
    typer.Option(
        "--host",
        metavar="NAME|IP",
        help="DNS name or IP address of the server for its clients; repeatable. "
        "[default: this host's name, localhost, 127.0.0.1 and ::1]",
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Replace existing files.")]


@app.command()
def init(directory: Directory = None, host: Hosts = None, *, force: Force = False) -> None:
    """Create an authority and certificates for a server, an admin and a viewer.

    Writes ca.pem, server.pem, admin.pem and viewer.pem, and a key for each (ca-key.pem, …), which only the
    owner can read. The name of the authority consists of this host and the date. The authority is valid
    for ten years, the others for 365 days; `renew` renews them.
    """
    from jobworkerd.certs import issuance

    _report(issuance.make_first_set(_directory(directory), host or [], replace=force))


@app.command()
def issue(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the files and of the subject (CN).")],
    role: Annotated[Role, typer.Option("--role", help="Role of the certificate.")],
    directory: Directory = None,
    host: Hosts = None,
    *,
    force: Force = False,
) -> None:
    """Create a certificate, signed by the authority in the directory, or renew one (--force).

    A delegate acts for users that have logged in to it, such as a shared dashboard. A gateway runs the jobs
    of a cluster, and acts for all its users. The agent of a host has this role, too.

    A server certificate that is renewed without --host keeps its hosts.
    """
    from jobworkerd.certs import issuance

    if host and role is not Role.SERVER:
        raise typer.BadParameter("only a server certificate has hosts; omit it", param_hint="--host")
    _report(issuance.issue_one(_directory(directory), name, role, host or [], replace=force))


@app.command()
def renew(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Name of the certificate.")] = None,
    directory: Directory = None,
    *,
    every: Annotated[bool, typer.Option("--all", help="Renew all except the authority.")] = False,
) -> None:
    """Renew a certificate, or all of them (--all), with the authority in the directory.

    Subject, role and hosts stay the same; the key is new. The server uses its new certificate without a
    restart. Copy the files of a client, NAME.pem and NAME-key.pem, to its host.
    """
    from jobworkerd.certs import issuance

    if (name is None) is not every:
        raise typer.BadParameter("exactly one of NAME and --all is required", param_hint="NAME")
    where = _directory(directory)
    _report(issuance.renew_all(where) if name is None else issuance.renew(where, [name]))


@app.command()
def revoke(
    what: Annotated[
        str,
        typer.Argument(metavar="FILE|NAME|SERIAL", help="The certificate, or its hexadecimal serial number."),
    ],
    directory: Directory = None,
) -> None:
    """Revoke a client certificate with the authority in the directory.

    Writes crl.pem, a standard revocation list (RFC 5280) signed by the authority. A server that has the file
    in its directory refuses the certificate within a second, also on open streams and waits. A FILE that is
    not in the working directory is looked up in the directory of the certificates, as is a NAME.
    """
    from jobworkerd.certs import revocation

    path, serial = revocation.revoke(_directory(directory), what)
    typer.echo(path)
    typer.echo(
        f"{serial:x} is revoked; copy {path.name} to each server that does not use this file", err=True
    )


@app.command(name="rollover")
def start_rollover(directory: Directory = None) -> None:
    """Replace the authority in steps, without an interruption: add a new one.

    Afterwards the server trusts both authorities, and its own certificate is still of the previous one. The
    next steps are: copy ca.pem to all clients; run `renew --all`; copy the renewed files to the clients; run
    `retire`.
    """
    from jobworkerd.certs import rollover

    _report(rollover.start(_directory(directory)))
    typer.echo(
        "next: copy ca.pem to all clients; run `jobworkerd certs renew --all`; copy the renewed files to the "
        "clients; run `jobworkerd certs retire`",
        err=True,
    )


@app.command()
def retire(
    directory: Directory = None,
    *,
    force: Annotated[
        bool, typer.Option("--force", help="Retire it although certificates in the directory are its own.")
    ] = False,
) -> None:
    """Finish a rollover: stop trusting the previous authority.

    Certificates of the previous authority are refused within a second. Its key is removed.
    """
    from jobworkerd.certs import rollover

    _report(rollover.retire(_directory(directory), force=force))


@app.command()
def show(directory: Directory = None, output: Output = Format.TEXT) -> None:
    """Show the certificates in the directory, and print their problems to stderr."""
    from jobworkerd.certs import inspection

    found = inspection.describe_all(_directory(directory))
    if output is Format.JSON:
        typer.echo(msgspec.json.format(msgspec.json.encode(found, enc_hook=str)))
        return
    typer.echo("\n\n".join(_paragraph(description) for description in found))
    for description in found:
        for problem in description.problems:
            typer.echo(f"warning: {problem}", err=True)


def _directory(given: Path | None) -> Path:
    return given or Path(resolve_settings(None, os.environ, {}).config.certs_dir)


def _report(paths: list[Path]) -> None:
    for path in paths:
        typer.echo(path)


def _paragraph(description: "Description") -> str:
    lines = {
        "subject": description.subject,
        "role": description.role,
        "hosts": ", ".join(description.hosts),
        "not after": f"{description.not_after:%Y-%m-%d %H:%M} UTC ({description.days_left} days left)",
        "serial": description.serial,
        "sha-256": description.fingerprint,
    }
    shown = [f"  {name:<10} {value}" for name, value in lines.items() if value]
    return "\n".join([str(description.file), *shown])
