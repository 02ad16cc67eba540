"""Lets the agent use a renewed certificate, and reports certificates that expire soon."""

import asyncio
from collections.abc import Callable, Iterable

import structlog

from jobworker_agent.host_connections import HostConnections
from jobworker_cluster.client_certificates import ClientCertificate, ExpiryNotices

_LOOK_SECONDS = 5.0


class CertificateWatch:
    """Looks at the certificate for the server of this host, and at that in the kubeconfig."""

    def __init__(
        self, connections: HostConnections, of_cluster: Callable[[], ClientCertificate | None]
    ) -> None:
        self._connections = connections
        self._of_cluster = of_cluster
        self._notices = ExpiryNotices(self._report)
        self._log: structlog.typing.FilteringBoundLogger = structlog.get_logger()

    async def run(self) -> None:
        """Look every five seconds, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(_LOOK_SECONDS)

    async def look(self) -> None:
        """Use a renewed certificate, and log what has changed since the last look."""
        try:
            if await self._connections.refresh():
                self._log.info("certificate renewed")
        except OSError as error:
            self._log.warning("certificate not usable", error=_describe(error, self._connections.source))
        self._notices.update(self._current())

    def _current(self) -> Iterable[ClientCertificate]:
        return filter(None, (self._connections.current.certificate, self._of_cluster()))

    def _report(self, _name: str, notice: str) -> None:
        if notice:
            self._log.warning("certificate expires soon", error=notice)


def _describe(error: OSError, source: str) -> str:
    return f"{error.filename or source}: {error.strerror or error}"
