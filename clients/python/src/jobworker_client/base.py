"""Constructors and deadlines that both clients share."""

from pathlib import Path
from typing import Self

from jobworker_client.config import CERTS, ROLE, SERVER, ClientConfig
from jobworker_client.retry_policy import RetryPolicy

__all__ = ["DEADLINE", "BaseClient"]

DEADLINE = 30.0
"""Default deadline of a call in seconds."""


class BaseClient:
    """A client of one server.

    `deadline` (seconds) bounds each call that does not wait for the end of a job.
    """

    _retry_policy = RetryPolicy()

    def __init__(self, config: ClientConfig, *, deadline: float = DEADLINE) -> None:
        self.config = config
        self._deadline = deadline

    @classmethod
    def from_env(cls, *, deadline: float = DEADLINE) -> Self:
        """Create a client from the environment variables that `ClientConfig.from_env` reads."""
        return cls(ClientConfig.from_env(), deadline=deadline)

    @classmethod
    def from_directory(
        cls,
        certs: Path | str = CERTS,
        *,
        server: str = SERVER,
        role: str = ROLE,
        server_name: str = "",
        deadline: float = DEADLINE,
    ) -> Self:
        """Create a client from `ca.pem`, `ROLE.pem` and `ROLE-key.pem` in the directory `certs`.

        `jobworkerd certs init` creates such a directory.
        """
        config = ClientConfig.from_directory(certs, server=server, role=role, server_name=server_name)
        return cls(config, deadline=deadline)

    @classmethod
    def from_files(  # noqa: PLR0913 - one parameter per setting
        cls,
        server: str,
        *,
        ca: Path | str,
        cert: Path | str,
        key: Path | str,
        server_name: str = "",
        deadline: float = DEADLINE,
    ) -> Self:
        """Create a client from three PEM files: the server's CA, the client's certificate and its key."""
        config = ClientConfig(
            server=server, ca=Path(ca), cert=Path(cert), key=Path(key), server_name=server_name
        )
        return cls(config, deadline=deadline)

    def _or_default(self, deadline: float | None) -> float:
        return self._deadline if deadline is None else deadline
