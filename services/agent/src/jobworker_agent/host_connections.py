"""Connections to the server of this host, with the certificate files as they are now."""

import time
from collections.abc import Callable

import grpc
import grpc.aio

from jobworker.v1.job_service_pb2_grpc import JobServiceStub
from jobworker.v1.node_service_pb2_grpc import NodeServiceStub
from jobworker_agent.host_address import HostAddress
from jobworker_cluster import client_certificates
from jobworker_cluster.client_certificates import ClientCertificate
from jobworker_cluster.replaced_files import UnusableFiles

_OPTIONS: tuple[tuple[str, int | str], ...] = (
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 0),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_receive_message_length", 8 * 1024 * 1024),
    # The server restarts within a second, and the jobs of a node must not wait longer than it does.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # The server is on this host: a proxy cannot reach it.
    ("grpc.enable_http_proxy", 0),
    # Each channel has a dedicated connection.
    ("grpc.use_local_subchannel_pool", 1),
)

_FORMER_SECONDS = 80.0
"""Time for which calls in progress keep a connection with a former certificate: more than a WaitJob takes."""


class HostConnection:
    """Two channels: calls that wait for the end of a job must not take the place of the others."""

    def __init__(self, address: HostAddress) -> None:
        """Read the certificate. The first call connects.

        Raises:
            OSError: a file cannot be read.
        """
        options = list(_OPTIONS)
        if address.server_name:
            options.append(("grpc.ssl_target_name_override", address.server_name))
        self.version = address.version()
        ca, pem, key = (path.read_bytes() for path in (address.ca, address.certificate, address.key))
        credentials = grpc.ssl_channel_credentials(ca, key, pem)
        self.certificate = _parse(address, pem)
        self._channels = [
            grpc.aio.secure_channel(address.target, credentials, options=options) for _ in range(2)
        ]
        calls, waits = self._channels
        self.node = NodeServiceStub(calls)
        self.jobs = JobServiceStub(calls)
        self.waiting_node = NodeServiceStub(waits)
        self.waiting_jobs = JobServiceStub(waits)

    async def close(self) -> None:
        """Close both channels. Their calls end."""
        for channel in self._channels:
            await channel.close()


class HostConnections:
    """The connection for new calls, and those with former certificates for calls in progress."""

    def __init__(self, address: HostAddress, clock: Callable[[], float] = time.monotonic) -> None:
        """Read the certificate. The first call connects.

        Raises:
            OSError: a file cannot be read.
        """
        self._address = address
        self._clock = clock
        self.current = HostConnection(address)
        self._former: list[tuple[float, HostConnection]] = []
        self._unusable = UnusableFiles()

    @property
    def source(self) -> str:
        """The file of the certificate."""
        return str(self._address.certificate)

    async def close(self) -> None:
        """Close all connections."""
        for each in (self.current, *(connection for _, connection in self._former)):
            await each.close()

    async def refresh(self) -> bool:
        """Use files that have changed for new calls, and return whether they have. Other calls continue.

        Raises:
            OSError: the new files cannot be used. It is raised once for each change.
        """
        await self._close_former()
        try:
            found = self._renewed()
        except OSError:
            if self._unusable.is_due(self._address.version()):
                raise
            return False
        self._unusable.clear()
        if found is None:
            return False
        self._former.append((self._clock() + _FORMER_SECONDS, self.current))
        self.current = found
        return True

    async def replace(self) -> None:
        """Use files that have changed, and end all calls: the server refuses the former certificate."""
        try:
            found = self._renewed()
        except OSError:  # `refresh` reports it
            return
        if found:
            former, self.current = self.current, found
            await former.close()

    def _renewed(self) -> HostConnection | None:
        """Return a connection with the files if they have changed.

        Raises:
            OSError: they cannot be used.
        """
        if self._address.version() == self.current.version:
            return None
        self._address.check()
        return HostConnection(self._address)

    async def _close_former(self) -> None:
        now = self._clock()
        due = [connection for end, connection in self._former if end <= now]
        self._former = [each for each in self._former if each[0] > now]
        for connection in due:
            await connection.close()


def _parse(address: HostAddress, pem: bytes) -> ClientCertificate | None:
    try:
        return client_certificates.for_nodes(str(address.certificate), pem)
    except ValueError:  # calls fail, and their errors are reported
        return None
