"""Counts what each client uses of this process. A client is the subject of a certificate."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType

from jobworkerd.errors import QuotaExceeded
from jobworkerd.quotas import QuotaConfig, ViewerQuota
from jobworkerd.rpc_server.identity.principal import Principal, Role
from jobworkerd.rpc_server.peers import close_peers, normalized, open_peers

_UNKNOWN = Principal("", None)

_UNBOUNDED = ViewerQuota(connections=0, concurrent_rpcs=0)
"""For a gateway, which makes the calls of all users of a cluster."""

_READS_AT_ONCE = 64
"""Requests of one client that are read at the same time. gRPC keeps up to 2 MiB of each one in memory."""

_MAX_IDLE_CLIENTS = 1_024

_LOOK_SECONDS = 0.5
"""Shortest time between two looks at the descriptors for connections that have ended."""

_REFUSAL_SECONDS = 0.2
"""Time for a refusal to reach the client before its connection is closed."""


class Client:
    """One client: its calls, its connections, and its requests that are being read."""

    def __init__(self, role: str, quota: ViewerQuota) -> None:
        self.peers: set[str] = set()
        self.rpcs = 0
        self._role = role
        self._quota = quota
        self._reads = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    def __enter__(self) -> None:
        """Count a call.

        Raises:
            QuotaExceeded: the client has the maximum number of calls.
        """
        if 0 < self._quota.concurrent_rpcs <= self.rpcs:
            name, count = f"quota.{self._role}.concurrent_rpcs", self._quota.concurrent_rpcs
            remedy = "retry when one of them has ended"
            raise QuotaExceeded(name, count, f"{count} RPCs are in progress", remedy)
        self.rpcs += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.rpcs -= 1

    @property
    def is_full(self) -> bool:
        """Whether the client has the maximum number of connections."""
        return 0 < self._quota.connections <= len(self.peers)

    def refuse_connection(self) -> QuotaExceeded:
        """Return the error for a further connection."""
        name, count = f"quota.{self._role}.connections", self._quota.connections
        return QuotaExceeded(name, count, f"{count} connections are open", "close one of them")

    async def begin_read(self) -> None:
        """Wait until the client can send another request. `end_read` must follow."""
        if self._reads >= _READS_AT_ONCE:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self.end_read()
                raise
            return
        self._reads += 1

    def end_read(self) -> None:
        """Let the next request of the client be read."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._reads -= 1


class Clients:
    """All clients that have called this process lately."""

    def __init__(self, quota: QuotaConfig, clock: Callable[[], float] = time.monotonic) -> None:
        self._quota = quota
        self._clock = clock
        self._clients: dict[str, Client] = {}
        self._owners: dict[str, Client] = {}
        self._looked = -_LOOK_SECONDS
        self.port = 0
        """The port of the server, when it listens."""

    def client(self, principal: Principal | None) -> Client:
        """Return the client with a principal. All clients without a valid certificate are one client."""
        principal = principal or _UNKNOWN
        if found := self._clients.get(principal.subject):
            return found
        if len(self._clients) >= _MAX_IDLE_CLIENTS:
            self._forget_idle()
        client = self._clients[principal.subject] = Client(*self._bounds(principal.role))
        return client

    def _bounds(self, role: Role | None) -> tuple[str, ViewerQuota]:
        match role:
            case Role.ADMIN:
                return "admin", self._quota.admin
            case Role.GATEWAY:
                return "gateway", _UNBOUNDED
            case _:
                return "viewer", self._quota.viewer

    def _forget_idle(self) -> None:
        """Forget the clients without calls. Their connections count again at the next call."""
        self._clients = {subject: client for subject, client in self._clients.items() if client.rpcs}
        self._owners = {peer: client for client in self._clients.values() for peer in client.peers}

    def admit(self, peer: str, client: Client) -> None:
        """Count the connection of a call. A refused connection is closed after the refusal.

        Raises:
            QuotaExceeded: the client has the maximum number of connections.
        """
        if self._owners.get(peer) is client:
            return
        if client.is_full:
            self._forget_closed()
        if client.is_full:
            asyncio.get_running_loop().call_later(_REFUSAL_SECONDS, self._close, normalized(peer), client)
            raise client.refuse_connection()
        if earlier := self._owners.get(peer):
            earlier.peers.discard(peer)
        self._owners[peer] = client
        client.peers.add(peer)

    def _forget_closed(self) -> None:
        if (now := self._clock()) < self._looked + _LOOK_SECONDS:
            return
        self._looked = now
        alive = open_peers(self.port)
        for peer in [each for each in self._owners if normalized(each) not in alive]:
            self._owners.pop(peer).peers.discard(peer)

    def _close(self, peer: str, client: Client) -> None:
        """Close a refused connection, unless it has been admitted since."""
        if peer not in map(normalized, client.peers):
            close_peers(self.port, peer.__eq__)
