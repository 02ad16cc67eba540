"""Lets the agent use renewed certificates, and reports those that expire soon."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Protocol

import structlog

from jobworker_agent.host_connections import HostConnections
from jobworker_cluster.access import InvalidKubeconfig
from jobworker_cluster.client_certificates import ClientCertificate, ExpiryNotices

_LOOK_SECONDS = 5.0


class Credentials(Protocol):
    """The credentials of the agent for Kubernetes."""

    @property
    def certificate(self) -> ClientCertificate | None:
        """The client certificate; None if the agent has another credential."""

    async def refresh(self) -> bool:
        """Use the kubeconfig as it is now, and return whether it has changed.

        Raises:
            InvalidKubeconfig: it cannot be used. It is raised once for each change.
        """


class CertificateWatch:
    """Looks at the certificate for the server of this host, and at that in the kubeconfig."""

    def __init__(self, connections: HostConnections, credentials: Credentials) -> None:
        self._connections = connections
        self._credentials = credentials
        self._notices = ExpiryNotices(self._report)
        self._log: structlog.typing.FilteringBoundLogger = structlog.get_logger()

    async def run(self) -> None:
        """Look every five seconds, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(_LOOK_SECONDS)

    async def look(self) -> None:
        """Use renewed certificates, and log each change since the last look."""
        try:
            if await self._connections.refresh():
                self._log.info("certificate renewed")
        except OSError as error:
            self._log.warning("certificate not usable", error=_describe(error, self._connections.source))
        try:
            if await self._credentials.refresh():
                self._log.info("kubeconfig renewed")
        except InvalidKubeconfig as error:
            self._log.warning("kubeconfig not usable", error=str(error))
        self._notices.update(self._current())

    def expiries(self) -> Mapping[str, float]:
        """Return when each certificate in use expires, in seconds since the epoch."""
        return {each.name: each.expiry.timestamp() for each in self._current()}

    def _current(self) -> Iterable[ClientCertificate]:
        return filter(None, (self._connections.current.certificate, self._credentials.certificate))

    def _report(self, _name: str, notice: str) -> None:
        if notice:
            self._log.warning("certificate expires soon", error=notice)


def _describe(error: OSError, source: str) -> str:
    return f"{error.filename or source}: {error.strerror or error}"
