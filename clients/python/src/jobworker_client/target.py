"""Where the server is and who we are: an address and three PEM files."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from jobworker_client.errors import AddressInvalid

__all__ = ["CERTS", "PORT", "ROLE", "SERVER", "Target"]

PORT = 50_051
SERVER = f"localhost:{PORT}"
CERTS = Path("/opt/job-worker/certs")
ROLE = "admin"


@dataclass(frozen=True, kw_only=True)
class Target:
    """A server, and the files that make a mutual TLS connection to it.

    Attributes:
        server: `HOST:PORT`, `HOST` (port 50051) or `[IPv6]:PORT`.
        ca: the PEM file of the CA that signed the server's certificate.
        cert: the PEM file of our certificate, which has our role.
        key: the PEM file of its key.
        server_name: the name that the server's certificate must have; empty = HOST.
    """

    server: str
    ca: Path
    cert: Path
    key: Path
    server_name: str = ""

    @classmethod
    def from_folder(  # noqa: PLR0913 - one for each thing that may differ
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
        """Takes `ca.pem`, `ROLE.pem` and `ROLE-key.pem` of a folder, where no other file is given.

        >>> Target.from_folder("/etc/jobs", role="viewer").key
        PosixPath('/etc/jobs/viewer-key.pem')
        """
        folder = Path(certs)
        return cls(
            server=server,
            ca=Path(ca or folder / "ca.pem"),
            cert=Path(cert or folder / f"{role}.pem"),
            key=Path(key or folder / f"{role}-key.pem"),
            server_name=server_name,
        )

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Takes what the environment says, as the command `jobworker` does.

        JOBWORKER_SERVER, JOBWORKER_CERTS (a folder), JOBWORKER_ROLE, JOBWORKER_CA, JOBWORKER_CERT,
        JOBWORKER_KEY, JOBWORKER_SERVER_NAME; one that is not set, or is empty, leaves the default.

        >>> Target.from_env({"JOBWORKER_SERVER": "jobs.example:50051"}).cert
        PosixPath('/opt/job-worker/certs/admin.pem')
        """
        given = os.environ if environ is None else environ

        def value(name: str) -> str:
            return given.get(f"JOBWORKER_{name}", "")

        return cls.from_folder(
            value("CERTS") or CERTS,
            server=value("SERVER") or SERVER,
            role=value("ROLE") or ROLE,
            ca=value("CA"),
            cert=value("CERT"),
            key=value("KEY"),
            server_name=value("SERVER_NAME"),
        )

    def address(self) -> tuple[str, int]:
        """Returns the host, an IPv6 address without its brackets, and the port.

        Raises:
            AddressInvalid: `server` is not an address.
        """
        host, colon, port = self.server.rpartition(":")
        if not colon or self.server.endswith("]"):
            host, port = self.server, str(PORT)
        name = host.removeprefix("[").removesuffix("]") if host.startswith("[") else host
        if not name or (":" in name and name == host) or not _is_port(port):
            example = "localhost:50051 or [::1]:50051"
            raise AddressInvalid(f"the server's address {self.server!r} is not HOST:PORT, such as {example}")
        return name, int(port)


def _is_port(text: str) -> bool:
    return text.isdecimal() and 0 < int(text) < 65_536
