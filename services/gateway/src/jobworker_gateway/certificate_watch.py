"""Lets the gateway use renewed client certificates, and reports those that expire soon."""

import asyncio
from collections.abc import Callable, Iterator, Mapping

import structlog

from jobworker_cluster.client_certificates import ClientCertificate, ExpiryNotices
from jobworker_gateway.engine import Engine
from jobworker_gateway.node_certificate import NodeCertificate
from jobworker_gateway.node_connections import NodeConnections

_LOOK_SECONDS = 5.0


class CertificateWatch:
    """Looks at the certificate for nodes, and at that in the kubeconfig."""

    def __init__(
        self,
        for_nodes: NodeCertificate,
        nodes: NodeConnections,
        engine: Engine,
        on_notice: Callable[[str, str], None],
    ) -> None:
        """`on_notice` gets the name of a certificate and its notice; an empty notice after its renewal."""
        self._for_nodes = for_nodes
        self._nodes = nodes
        self._engine = engine
        self._on_notice = on_notice
        self._notices = ExpiryNotices(self._report)
        self._log: structlog.typing.FilteringBoundLogger = structlog.get_logger()

    async def run(self) -> None:
        """Look every five seconds, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(_LOOK_SECONDS)

    async def look(self) -> None:
        """Use a renewed certificate for nodes, and report each change since the last look."""
        await self._nodes.close_unused()
        self._notices.update(self._current())

    def expiries(self) -> Mapping[str, float]:
        """Return when each certificate expires, in seconds since the epoch."""
        return {each.name: each.expiry.timestamp() for each in self._current()}

    def _current(self) -> Iterator[ClientCertificate]:
        if self._for_nodes.current:
            yield self._for_nodes.current
        if self._engine.certificate:
            yield self._engine.certificate

    def _report(self, name: str, notice: str) -> None:
        if notice:
            self._log.warning("certificate expires soon", reason=notice)
        self._on_notice(name, notice)
