"""Where a scenario plays: the servers, the certificates, and the clients that connect to them."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from live import Server, until
from tests.interop.clients.registry import ClientKind, Connect
from tests.interop.driver import Client, Connection, Driver
from tests.interop.proxy import CuttingProxy

SERVICE = "jobworker.v1.JobService"


class Drivers:
    """One driver a client and connection, started when first asked for and kept: starting takes long."""

    def __init__(self, folder: Path, stack: contextlib.ExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self._prepared: dict[str, Connect] = {}
        self._running: dict[tuple[str, Connection], Driver] = {}

    def get(self, kind: ClientKind, connection: Connection) -> Driver:
        """Returns the driver; another one if it ended."""
        driver = self._running.get((kind.name, connection))
        if driver is None or not driver.alive:
            driver = self._stack.enter_context(self.connect(kind)(connection))
            self._running[kind.name, connection] = driver
        return driver

    def connect(self, kind: ClientKind) -> Connect:
        """Returns what connects a client, having made its driver once."""
        if kind.name not in self._prepared:
            folder = self._folder / kind.name.replace(" ", "-")
            folder.mkdir()
            self._prepared[kind.name] = kind.prepare(folder)
        return self._prepared[kind.name]


@dataclass(frozen=True)
class Servers:
    """The server of nearly all scenarios, one where little is allowed, and folders of certificates."""

    usual: Server
    small: Server
    """Runs one job at a time, and keeps 64 KiB of each job's output."""
    certs: Path
    strangers: Path
    """Of an authority that the servers do not know."""


class Stage:
    """The clients of one kind: each scenario is played on one of these."""

    def __init__(self, kind: ClientKind, servers: Servers, drivers: Drivers) -> None:
        self._kind = kind
        self._servers = servers
        self._drivers = drivers

    @property
    def admin(self) -> Client:
        """A client that may do everything."""
        return self._client(Connection.of(self._servers.usual.address, self._servers.certs, "admin"))

    @property
    def viewer(self) -> Client:
        """A client that may only look."""
        return self._client(Connection.of(self._servers.usual.address, self._servers.certs, "viewer"))

    @property
    def small(self) -> Client:
        """An admin's client of the server where little is allowed."""
        return self._client(Connection.of(self._servers.small.address, self._servers.certs, "admin"))

    @contextlib.contextmanager
    def stranger(self) -> Iterator[Client]:
        """A client whose certificate is of another authority."""
        address, servers = self._servers.usual.address, self._servers
        yield from self._once(Connection.of(address, servers.strangers, "admin", authority=servers.certs))

    @contextlib.contextmanager
    def doubter(self) -> Iterator[Client]:
        """A client that trusts another authority than the server's."""
        address, servers = self._servers.usual.address, self._servers
        yield from self._once(Connection.of(address, servers.certs, "admin", authority=servers.strangers))

    @contextlib.contextmanager
    def through_proxy(self, *, cut_after: int) -> Iterator[tuple[Client, CuttingProxy]]:
        """A client whose connections are reset once, after so many bytes from the server."""
        with CuttingProxy.started(self._servers.usual.address, cut_after) as proxy:
            for client in self._once(Connection.of(proxy.address, self._servers.certs, "admin")):
                yield client, proxy

    def count_rpcs(self, method: str, **fields: str) -> int:
        """Returns how many calls of a method the server has logged, those with these fields."""
        wanted = {"event": "rpc", "method": f"{SERVICE}/{method}", **fields}
        return sum(wanted.items() <= event.items() for event in self._servers.usual.events())

    def wait_for_rpcs(self, method: str, count: int, **fields: str) -> None:
        """Waits until the server has logged so many calls."""
        until(lambda: self.count_rpcs(method, **fields) >= count)

    def _client(self, connection: Connection) -> Client:
        return Client(self._drivers.get(self._kind, connection))

    def _once(self, connection: Connection) -> Iterator[Client]:
        with self._drivers.connect(self._kind)(connection) as driver:
            yield Client(driver)
