"""The environment of a scenario: the servers, the certificates, and clients that connect to them."""

import contextlib
import subprocess
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import psutil
from restarts import supervisor

from live import Server, seen_by_jobs, until
from tests.interop.clients.registry import ClientKind, Connect
from tests.interop.driver import Client, Connection, Driver
from tests.interop.paths import BIN
from tests.interop.proxy import Fault, FaultyProxy

SERVICE = "jobworker.v1.JobService"
Result = TypeVar("Result")


class Drivers:
    """One driver per client and connection. Drivers are kept because they take long to start."""

    def __init__(self, directory: Path, stack: contextlib.ExitStack) -> None:
        self._directory = directory
        self._stack = stack
        self._built: dict[str, Connect] = {}
        self._running: dict[tuple[str, Connection], Driver] = {}

    def get(self, kind: ClientKind, connection: Connection) -> Driver:
        """Return a running driver. Restarts a driver that has ended."""
        driver = self._running.get((kind.name, connection))
        if driver is None or not driver.alive:
            driver = self._stack.enter_context(self.build(kind)(connection))
            self._running[kind.name, connection] = driver
        return driver

    def build(self, kind: ClientKind) -> Connect:
        """Build the driver of a client, once, and return the function that starts it."""
        if kind.name not in self._built:
            directory = self._directory / kind.name.replace(" ", "-")
            directory.mkdir()
            self._built[kind.name] = kind.build(directory)
        return self._built[kind.name]


@dataclass(frozen=True)
class Servers:
    """The servers and the certificates."""

    default: Server
    """A server with the default configuration."""
    limited: Server
    """Runs one job at a time, keeps 16 MiB of output, and cuts off readers that stall for 1 s."""
    certs: Path
    other_certs: Path
    """Certificates of a CA that the servers do not trust."""


class Environment:
    """The servers, and clients of one kind. Each scenario runs in one of these per client."""

    def __init__(self, kind: ClientKind, servers: Servers, drivers: Drivers) -> None:
        self._kind = kind
        self.servers = servers
        self._drivers = drivers

    @property
    def admin(self) -> Client:
        """A client with the Admin role."""
        return self._client(Connection.of(self.servers.default.address, self.servers.certs, "admin"))

    @property
    def viewer(self) -> Client:
        """A client with the Viewer role."""
        return self._client(Connection.of(self.servers.default.address, self.servers.certs, "viewer"))

    @property
    def limited(self) -> Client:
        """A client of the limited server, with the Admin role."""
        return self._client(Connection.of(self.servers.limited.address, self.servers.certs, "admin"))

    @contextlib.contextmanager
    def another_admin(self) -> Iterator[Client]:
        """A second client with the Admin role, with its own connection."""
        yield from self._connect_once(
            Connection.of(self.servers.default.address, self.servers.certs, "admin")
        )

    @contextlib.contextmanager
    def untrusted_client(self) -> Iterator[Client]:
        """A client whose certificate the server does not trust."""
        address, servers = self.servers.default.address, self.servers
        yield from self._connect_once(
            Connection.of(address, servers.other_certs, "admin", ca_certs=servers.certs)
        )

    @contextlib.contextmanager
    def revocable_client(self) -> Iterator[tuple[Client, Callable[[], None]]]:
        """A client with the Admin role and a separate certificate, and the function that revokes it."""
        name, certs = f"revocable-{uuid.uuid4()}", self.servers.certs
        jobworkerd_certs(certs, "issue", name, "--role", "admin")
        for client in self._connect_once(Connection.of(self.servers.default.address, certs, name)):
            yield client, lambda: jobworkerd_certs(certs, "revoke", f"{name}.pem")

    @contextlib.contextmanager
    def untrusting_client(self) -> Iterator[Client]:
        """A client that does not trust the server's certificate."""
        address, servers = self.servers.default.address, self.servers
        yield from self._connect_once(
            Connection.of(address, servers.certs, "admin", ca_certs=servers.other_certs)
        )

    @contextlib.contextmanager
    def through_proxy(
        self, server: Server, fault: Fault, *, after_bytes: int, counts_client: bool = False
    ) -> Iterator[tuple[Client, FaultyProxy]]:
        """A client whose connection has one fault, after the server or the client has sent so many bytes."""
        with FaultyProxy.started(server.address, fault, after_bytes, counts_client=counts_client) as proxy:
            for client in self._connect_once(Connection.of(proxy.address, self.servers.certs, "admin")):
                yield client, proxy

    def restart_default_server(self, *, kill: bool = False) -> None:
        """Stop the default server, or kill its main process, and start it again on the same port."""
        server = self.servers.default
        assert server.process
        if kill:
            server.process.kill()
            server.process.wait()
        else:
            server.stop()
        server.launch()

    def over_an_api_process_restart(
        self, script: str, method: str, calls: int, follow: Callable[[str], Result]
    ) -> tuple[str, Result]:
        """Follow a job of the limited server, whose API processes are killed during the last of some calls.

        The script can wait until the file `$0/go` exists. It exists once the client has called the method
        again. Return the job's id and the result.
        """
        return self._over_a_kill(script, method, calls, follow, lambda server: server.api_processes())

    def over_a_supervisor_restart(
        self, script: str, method: str, calls: int, follow: Callable[[str], Result]
    ) -> tuple[str, Result]:
        """Follow a job like `over_an_api_process_restart`, but kill the supervisor."""
        return self._over_a_kill(script, method, calls, follow, lambda server: [supervisor(server)])

    def kill_limited_supervisor(self) -> None:
        """Kill the supervisor of the limited server, which restarts."""

        def find() -> psutil.Process | None:
            # A call can have succeeded before the kill took effect, so no supervisor may run at this moment.
            with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):
                return supervisor(self.servers.limited)
            return None

        until(find).kill()

    def _over_a_kill(
        self,
        script: str,
        method: str,
        calls: int,
        follow: Callable[[str], Result],
        victims: Callable[[Server], list[psutil.Process]],
    ) -> tuple[str, Result]:
        server = self.servers.limited
        with seen_by_jobs() as directory, ThreadPoolExecutor() as pool:
            job_id = self.limited.create("sh", "-c", script, str(directory)).id
            before = count_events(server, "authorization", method)
            result = pool.submit(follow, job_id)
            wait_for_events(server, before + calls, "authorization", method)
            for process in victims(server):
                process.kill()
            wait_for_events(server, before + calls + 1, "authorization", method)
            (directory / "go").touch()
            return job_id, result.result()

    def _client(self, connection: Connection) -> Client:
        return Client(self._drivers.get(self._kind, connection))

    def _connect_once(self, connection: Connection) -> Iterator[Client]:
        with self._drivers.build(self._kind)(connection) as driver:
            yield Client(driver)


def jobworkerd_certs(directory: Path, *arguments: str) -> None:
    """Run `jobworkerd certs` for a directory."""
    subprocess.run([BIN / "jobworkerd", "certs", *arguments, "--dir", directory], check=True)


def count_events(server: Server, event: str, method: str = "", **fields: str) -> int:
    """Return how many events with these fields a server has logged. `method` has no service name."""
    expected = {"event": event, **fields, **({"method": f"{SERVICE}/{method}"} if method else {})}
    return sum(expected.items() <= each.items() for each in server.events())


def wait_for_events(server: Server, count: int, event: str, method: str = "", **fields: str) -> None:
    """Wait until a server has logged at least `count` of these events."""
    until(lambda: count_events(server, event, method, **fields) >= count)
