"""Finds out whether the server is a gateway, which has the nodes of a cluster."""

from jobworker_dashboard.backend import Backend, Metadata
from jobworker_dashboard.connect_error import ConnectError
from jobworker_dashboard.methods import LIST_NODES

# Seconds. The page waits for the answer.
TIMEOUT = 2.0


class GatewayProbe:
    """Asks the server once, and again only if it does not answer."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._known: bool | None = None

    async def is_gateway(self, metadata: Metadata) -> bool:
        """Return whether the server is a gateway, for a session with this metadata. Unknown is False."""
        if self._known is None:
            self._known = await self._ask(metadata)
        return bool(self._known)

    async def _ask(self, metadata: Metadata) -> bool | None:
        try:
            await self._backend.unary(LIST_NODES, b"", metadata, TIMEOUT)
        except ConnectError as error:
            if error.reason == "CLUSTER_UNAVAILABLE":
                return True
            return False if error.code == "unimplemented" else None
        return True
