"""A gateway in this process, with a cluster in memory."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import trustme
from api_server import Authority, Logged, eventually
from msgspec.structs import replace

from fake_cluster import FakeCluster, fake_cluster
from jobworker_gateway import server
from jobworker_gateway.settings import GatewayConfig
from jobworkerd.config import MetricsConfig
from jobworkerd.quotas import QuotaConfig
from jobworkerd.rpc_server.telemetry import Exporting, SpanSource

_NOT_EXPORTING: Exporting[SpanSource] = Exporting()


@dataclass(frozen=True)
class Gateway:
    """A running gateway. `stopped` ends it."""

    address: str
    certs: Path
    authority: Authority
    cluster: FakeCluster
    stopped: asyncio.Event
    logged: Logged
    running: asyncio.Task[None]

    @asynccontextmanager
    async def client(
        self, unit: str | None = "Admin", name: str = "alice"
    ) -> AsyncIterator[grpc.aio.Channel]:
        """Connect with a new certificate that has this OU."""
        issued: trustme.LeafCert = self.authority.client(name, unit)
        credentials = grpc.ssl_channel_credentials(
            self.authority.ca.cert_pem.bytes(),
            issued.private_key_pem.bytes(),
            issued.cert_chain_pems[0].bytes(),
        )
        async with grpc.aio.secure_channel(self.address, credentials) as channel:
            yield channel

    async def end(self) -> None:
        """Stop the gateway and wait for its end."""
        self.stopped.set()
        await self.running


def gateway_settings(directory: Path, authority: Authority) -> GatewayConfig:
    """Write certificates, and return the settings of a gateway on a free port."""
    certs = directory / "certs"
    certs.mkdir()
    authority.write_gateway(certs)
    return GatewayConfig(listen="127.0.0.1:0", certs_dir=str(certs), queues={"gpu": {"gpu": "yes"}})


@asynccontextmanager
async def running_gateway(
    directory: Path,
    authority: Authority,
    logged: Logged,
    exporting: Exporting[SpanSource] = _NOT_EXPORTING,
    archive_file: Path | None = None,
    **changed: MetricsConfig | QuotaConfig,
) -> AsyncIterator[Gateway]:
    """Run a gateway until the context is left. `changed` are settings."""
    settings = replace(gateway_settings(directory, authority), **changed)
    stopped = asyncio.Event()
    earlier = len(logged)
    async with fake_cluster(directory, archive_file) as cluster:
        running = asyncio.create_task(
            server.serve(settings, cluster.engine, cluster.archive, stopped, exporting)
        )
        try:
            await eventually(lambda: running.done() or _address(logged[earlier:]))
            if running.done():
                await running
            yield Gateway(
                _address(logged[earlier:]),
                Path(settings.certs_dir),
                authority,
                cluster,
                stopped,
                logged,
                running,
            )
        finally:
            stopped.set()
            await asyncio.wait((running,))


def _address(logged: Logged) -> str:
    return next((str(line["address"]) for line in logged if line["event"] == "listening"), "")
