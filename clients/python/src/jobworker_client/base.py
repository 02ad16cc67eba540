"""What the two clients have in common besides their calls: how they are made, and their deadlines."""

from pathlib import Path
from typing import Self

from jobworker_client.target import CERTS, ROLE, SERVER, Target

__all__ = ["DEADLINE", "BaseClient"]

DEADLINE = 30.0
"""Seconds."""


class BaseClient:
    """A client of one server. `deadline`, in seconds, is that of each call that does not wait for a job."""

    def __init__(self, target: Target, *, deadline: float = DEADLINE) -> None:
        self.target = target
        self._deadline = deadline

    @classmethod
    def from_env(cls, *, deadline: float = DEADLINE) -> Self:
        """Connects as the environment says: see `Target.from_env`."""
        return cls(Target.from_env(), deadline=deadline)

    @classmethod
    def from_folder(
        cls,
        certs: Path | str = CERTS,
        *,
        server: str = SERVER,
        role: str = ROLE,
        server_name: str = "",
        deadline: float = DEADLINE,
    ) -> Self:
        """Connects with `ca.pem`, `ROLE.pem` and `ROLE-key.pem` of a folder of `jobworkerd certs init`."""
        target = Target.from_folder(certs, server=server, role=role, server_name=server_name)
        return cls(target, deadline=deadline)

    @classmethod
    def from_files(  # noqa: PLR0913 - three files, and what may differ
        cls,
        server: str,
        *,
        ca: Path | str,
        cert: Path | str,
        key: Path | str,
        server_name: str = "",
        deadline: float = DEADLINE,
    ) -> Self:
        """Connects with three PEM files: the server's CA, our certificate, its key."""
        target = Target(server=server, ca=Path(ca), cert=Path(cert), key=Path(key), server_name=server_name)
        return cls(target, deadline=deadline)

    def _bound(self, deadline: float | None) -> float:
        return self._deadline if deadline is None else deadline
