"""The programs of jobworker in a cluster: a server and an agent on each host, and the gateways."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import grpc
import psutil
from grpc_health.v1 import health_pb2_grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

import live
from live import Server, still_alive, until
from live_client import credentials
from tests.cluster.control_plane import ControlPlane
from tests.cluster.place import Place
from tests.cluster.service import Service

BIN = Path(sys.executable).parent
PORT = 50051

CPU = 1600
"""Percent of one core per host: more than the machine has, because the jobs mostly sleep."""

MEMORY = 4096
"""MiB per host."""

MAX_JOBS = 40

_UIDS = 1_000


@dataclass
class Host:
    """One host: its server and its agent."""

    place: Place
    server: Server
    agent: Service

    @property
    def name(self) -> str:
        """The name of the node."""
        return self.place.name

    def power_off(self) -> None:
        """End all processes of the host at once, those of the jobs, too."""
        assert self.server.process
        self.agent.hold()
        main = psutil.Process(self.server.process.pid)
        doomed = [main, *main.children(recursive=True)]
        for each in doomed:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.suspend()
        for each in reversed(doomed):
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
        self.server.process.wait()
        assert not still_alive(doomed)

    def power_on(self) -> None:
        """Start the programs of the host again."""
        self.server.launch()
        self.agent.release()


@dataclass
class Gateway:
    """One gateway. `server` has its address and the certificates, for clients."""

    place: Place
    server: Server
    service: Service

    def wait_until_serving(self) -> None:
        """Wait until the gateway has its view of the cluster, and clients can call it."""
        admin = credentials(self.server.certs, "admin")
        with grpc.secure_channel(self.server.address, admin) as channel:
            check = health_pb2_grpc.HealthStub(channel).Check
            until(lambda: self._is_serving(check), 60)

    def _is_serving(
        self, check: "grpc.UnaryUnaryMultiCallable[HealthCheckRequest, HealthCheckResponse]"
    ) -> bool:
        try:
            answer = check(HealthCheckRequest(), timeout=5, wait_for_ready=True)
        except grpc.RpcError:
            return False
        return bool(answer.status == HealthCheckResponse.SERVING)


@contextlib.contextmanager
def host(
    place: Place, number: int, plane: ControlPlane, certs: Path, directory: Path, more: Mapping[str, str]
) -> Iterator[Host]:
    """Start the server, with some more settings, and the agent of a host, and stop both at the end."""
    address = f"{place.address}:{PORT}"
    settings = {
        "JOBWORKERD_CAPACITY_CPU": str(CPU),
        "JOBWORKERD_CAPACITY_MEMORY": str(MEMORY),
        "JOBWORKERD_MAX_JOBS": str(MAX_JOBS),
        # The hosts share the users of one kernel.
        "JOBWORKERD_ISOLATION_FIRST_UID": str(1_720_000_000 + number * _UIDS),
        "JOBWORKERD_ISOLATION_UID_COUNT": str(_UIDS),
        **more,
    }
    state = directory / place.name
    flags = ("--listen", address, "--logging-format", "json")
    with Server.started(BIN, certs, state, *flags, run_by=place.prefix, **settings) as server:
        agent = _agent(place, address, plane, certs, directory)
        try:
            agent.start()
            yield Host(place, server, agent)
        finally:
            agent.stop()
            server.stop()
            _remove_cgroups(server)


def _remove_cgroups(server: Server) -> None:
    """Remove the cgroups of a server that was killed, which does not remove them itself."""
    if server.cgroup_base and server.cgroup_base.exists():
        for directory, _, _ in os.walk(server.cgroup_base, topdown=False):
            Path(directory).rmdir()


def _agent(place: Place, address: str, plane: ControlPlane, certs: Path, directory: Path) -> Service:
    settings = {
        "JOBWORKER_AGENT_NODE": place.name,
        # Most machines with network namespaces for tests have no controllers of cgroup v2.
        "JOBWORKER_AGENT_LIMITS_POLICY": "best_effort",
        "JOBWORKER_AGENT_SERVER": address,
        "JOBWORKER_AGENT_CERTS_DIR": str(certs),
        "JOBWORKER_AGENT_KUBECONFIG": str(plane.kubeconfig(f"system:node:{place.name}", "system:nodes")),
    }
    argv: list[str | Path] = [*place.prefix, BIN / "jobworker-agent"]
    return Service(f"agent-{place.name}", argv, directory / f"agent-{place.name}.log", settings)


@contextlib.contextmanager
def gateway(
    place: Place, plane: ControlPlane, certs: Path, archive: str, directory: Path, **more: str
) -> Iterator[Gateway]:
    """Start a gateway, with some more variables, and stop it at the end."""
    address = f"{place.address}:{PORT}"
    user = "system:serviceaccount:jobworker:jobworker-gateway"
    settings = {
        "JOBWORKER_GATEWAY_LISTEN": address,
        "JOBWORKER_GATEWAY_CERTS_DIR": str(certs),
        "JOBWORKER_GATEWAY_KUBECONFIG": str(plane.kubeconfig(user, "system:serviceaccounts")),
        "JOBWORKER_GATEWAY_ARCHIVE": archive,
        **more,
    }
    argv: list[str | Path] = [*place.prefix, BIN / "jobworker-gateway"]
    service = Service(place.name, argv, directory / f"{place.name}.log", settings)
    try:
        service.start()
        yield Gateway(place, Server(address=address, certs=certs), service)
    finally:
        service.stop()


def make_certificates(directory: Path, addresses: list[str]) -> Path:
    """Make the certificates of all hosts, gateways and clients, with one authority."""
    live.make_certificates(BIN, directory, *(flag for each in addresses for flag in ("--host", each)))
    argv: list[str | Path] = [BIN / "jobworkerd", "certs", "issue", "gateway", "--role", "gateway"]
    argv += ["--dir", directory]
    subprocess.run(argv, check=True, capture_output=True)
    return directory
