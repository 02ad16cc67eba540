"""Configuration of a connection: the address of the server and three PEM files."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from jobworker_client.errors import InvalidAddress

__all__ = ["CERTS", "PORT", "ROLE", "SERVER", "ClientConfig"]

PORT = 50_051
SERVER = f"localhost:{PORT}"
CERTS = Path("/opt/job-worker/certs")
ROLE = "admin"


@dataclass(frozen=True, kw_only=True)
class ClientConfig:
    """A server, and the files for a mutual TLS connection to it.

    Attributes:
        server: `HOST:PORT`, `HOST` (port 50051) or `[IPv6]:PORT`.
        ca: PEM file of the CA that signed the server's certificate.
        cert: PEM file of the client's certificate, which contains the role.
        key: PEM file of the private key for `cert`.
        server_name: the name that the server's certificate must contain. Empty = HOST.
    """

    server: str
    ca: Path
    cert: Path
    key: Path
    server_name: str = ""

    @classmethod
    def from_directory(  # noqa: PLR0913 - one parameter per setting
        cls,
        certs: Path | str = CERTS,
        *,
        server: str = SERVER,
        role: str = ROLE,
        ca: Path | str | None = None,
        cert: Path | str | None = None,
        key: Path | str | None = None,
        server_name: str = "",
    ) -> Self:
        """Use `ca.pem`, `ROLE.pem` and `ROLE-key.pem` in the directory `certs`.

        `ca`, `cert` and `key` each replace one of the files.

        >>> ClientConfig.from_directory("/etc/jobs", role="viewer").key
        PosixPath('/etc/jobs/viewer-key.pem')
        """
        directory = Path(certs)
        return cls(
            server=server,
            ca=Path(ca or directory / "ca.pem"),
            cert=Path(cert or directory / f"{role}.pem"),
            key=Path(key or directory / f"{role}-key.pem"),
            server_name=server_name,
        )

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Use the environment variables of the command `jobworker`.

        JOBWORKER_SERVER, JOBWORKER_CERTS (a directory), JOBWORKER_ROLE, JOBWORKER_CA, JOBWORKER_CERT,
        JOBWORKER_KEY and JOBWORKER_SERVER_NAME. An unset or empty variable means the default. `environ`
        defaults to `os.environ`.

        >>> ClientConfig.from_env({"JOBWORKER_SERVER": "jobs.example:50051"}).cert
        PosixPath('/opt/job-worker/certs/admin.pem')
        """
        variables = os.environ if environ is None else environ

        def value(name: str) -> str:
            return variables.get(f"JOBWORKER_{name}", "")

        return cls.from_directory(
            value("CERTS") or CERTS,
            server=value("SERVER") or SERVER,
            role=value("ROLE") or ROLE,
            ca=value("CA"),
            cert=value("CERT"),
            key=value("KEY"),
            server_name=value("SERVER_NAME"),
        )

    def address(self) -> tuple[str, int]:
        """Return the host, without the brackets of an IPv6 address, and the port.

        Raises:
            InvalidAddress: `server` is not an address.
        """
        host, colon, port = self.server.rpartition(":")
        if not colon or self.server.endswith("]"):
            host, port = self.server, str(PORT)
        name = host.removeprefix("[").removesuffix("]") if host.startswith("[") else host
        if not name or (":" in name and name == host) or not _is_port(port):
            example = "localhost:50051 or [::1]:50051"
            raise InvalidAddress(f"server address {self.server!r} is not HOST:PORT, such as {example}")
        return name, int(port)


def _is_port(text: str) -> bool:
    return text.isdecimal() and 0 < int(text) < 65_536
