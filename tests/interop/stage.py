"""Where a scenario plays: the servers, the certificates, and the clients that connect to them."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from live import Server, until
from tests.interop.clients.registry import ClientKind, Connect
from tests.interop.driver import Client, Connection, Driver
from tests.interop.proxy import Fault, FaultyProxy

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
    """Runs one job at a time, keeps 16 MiB of its output, and cuts off a reader that stalls for 1 s."""
    certs: Path
    strangers: Path
    """Of an authority that the servers do not know."""


class Stage:
    """The clients of one kind: each scenario is played on one of these."""

    def __init__(self, kind: ClientKind, servers: Servers, drivers: Drivers) -> None:
        self._kind = kind
        self.servers = servers
        self._drivers = drivers

    @property
    def admin(self) -> Client:
        """A client that may do everything."""
        return self._client(Connection.of(self.servers.usual.address, self.servers.certs, "admin"))

    @property
    def viewer(self) -> Client:
        """A client that may only look."""
        return self._client(Connection.of(self.servers.usual.address, self.servers.certs, "viewer"))

    @property
    def small(self) -> Client:
        """An admin's client of the server where little is allowed."""
        return self._client(Connection.of(self.servers.small.address, self.servers.certs, "admin"))

    @contextlib.contextmanager
    def stranger(self) -> Iterator[Client]:
        """A client whose certificate is of another authority."""
        address, servers = self.servers.usual.address, self.servers
        yield from self._once(Connection.of(address, servers.strangers, "admin", authority=servers.certs))

    @contextlib.contextmanager
    def doubter(self) -> Iterator[Client]:
        """A client that trusts another authority than the server's."""
        address, servers = self.servers.usual.address, self.servers
        yield from self._once(Connection.of(address, servers.certs, "admin", authority=servers.strangers))

    @contextlib.contextmanager
    def through_proxy(
        self, server: Server, fault: Fault, *, after: int
    ) -> Iterator[tuple[Client, FaultyProxy]]:
        """A client whose connections have a fault once, after so many bytes from the server."""
        with FaultyProxy.started(server.address, fault, after) as proxy:
            for client in self._once(Connection.of(proxy.address, self.servers.certs, "admin")):
                yield client, proxy

    def _client(self, connection: Connection) -> Client:
        return Client(self._drivers.get(self._kind, connection))

    def _once(self, connection: Connection) -> Iterator[Client]:
        with self._drivers.connect(self._kind)(connection) as driver:
            yield Client(driver)


def count_events(server: Server, event: str, method: str = "", **fields: str) -> int:
    """Returns how many events with these fields a server has logged; `method` is without its service."""
    wanted = {"event": event, **fields, **({"method": f"{SERVICE}/{method}"} if method else {})}
    return sum(wanted.items() <= each.items() for each in server.events())


def wait_for_events(server: Server, count: int, event: str, method: str = "", **fields: str) -> None:
    """Waits until a server has logged so many of them."""
    until(lambda: count_events(server, event, method, **fields) >= count)
