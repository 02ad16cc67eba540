"""A whole cluster: a control plane that survives the death of any program, three hosts and two gateways."""

import contextlib
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from live import seen_by_jobs, until
from tests.cluster import control_plane, hosts, packaged, postgresql
from tests.cluster.control_plane import ControlPlane, Layout
from tests.cluster.hosts import Gateway, Host
from tests.cluster.kube_api import ApiError, Json, KubeApi
from tests.cluster.network import Network, network
from tests.cluster.place import Place
from tests.cluster.service import Service

_BALANCER = Path(__file__).with_name("balancer.py")
_API_PORT = 6443


@dataclass
class Cluster:
    """A cluster that runs. All jobs can append to the file `runs`."""

    network: Network
    control_plane: ControlPlane
    hosts: list[Host]
    gateways: list[Gateway]
    runs: Path

    @property
    def gateway(self) -> Gateway:
        """The gateway that most tests call."""
        return self.gateways[0]

    def api(self, number: int = 0) -> KubeApi:
        """Return an apiserver, called by an administrator."""
        return self.control_plane.api(number)

    def host(self, name: str) -> Host:
        """Return the host of a node."""
        (found,) = [each for each in self.hosts if each.name == name]
        return found

    def ready_nodes(self) -> set[str]:
        """Return the names of the nodes that can run jobs."""
        return {each["metadata"]["name"] for each in self.api().items("/api/v1/nodes") if _is_ready(each)}

    def wait_until_ready(self, seconds: float = 60) -> None:
        """Wait until all nodes can run jobs."""
        names = {host.name for host in self.hosts}
        until(lambda: self._ready_or_none() == names, seconds)

    def _ready_or_none(self) -> set[str] | None:
        with contextlib.suppress(ApiError, OSError):
            return self.ready_nodes()
        return None


def _is_ready(node: Json) -> bool:
    conditions = node["status"].get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


@contextlib.contextmanager
def running(directory: Path) -> Iterator[Cluster]:
    """Start a cluster with its files in a directory, and remove it at the end."""
    directory.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        net = stack.enter_context(network())
        masters = [net.place(f"master-{number}", number) for number in (1, 2, 3)]
        nodes = [net.place(f"node-{number}", 10 + number) for number in (1, 2, 3)]
        entrances = [net.place(f"gate-{number}", 20 + number) for number in (1, 2)]
        balancer, database = net.place("balancer", 30), net.place("database", 31)
        layout = Layout(masters, masters[:2], masters[:2], balancer.address)
        plane = stack.enter_context(control_plane.running(directory / "control-plane", layout))
        stack.enter_context(_balanced(balancer, masters[:2], directory))
        packaged.apply(plane.api())
        archive = stack.enter_context(postgresql.running(database, directory / "postgresql.log"))
        addresses = [place.address for place in (*nodes, *entrances)]
        certs = hosts.make_certificates(directory / "certs", addresses)
        runs = stack.enter_context(seen_by_jobs()) / "shared" / "runs"
        _make_writable(runs)
        cluster = Cluster(net, plane, [], [], runs)
        for number, place in enumerate(nodes):
            settings = {"JOBWORKERD_ISOLATION_WRITABLE_PATHS": str(runs.parent)}
            host = stack.enter_context(hosts.host(place, number, plane, certs, directory, settings))
            cluster.hosts.append(host)
        for place in entrances:
            gateway = stack.enter_context(hosts.gateway(place, plane, certs, archive[1], directory))
            cluster.gateways.append(gateway)
        # Also before a failed test, so that all servers can end.
        stack.callback(net.heal_all)
        cluster.wait_until_ready()
        for gateway in cluster.gateways:
            gateway.wait_until_serving()
        yield cluster


def _make_writable(file: Path) -> None:
    file.parent.mkdir()
    file.parent.chmod(0o777)
    file.touch()
    file.chmod(0o666)


@contextlib.contextmanager
def _balanced(place: Place, masters: list[Place], directory: Path) -> Iterator[None]:
    """Run the balancer of the apiservers."""
    targets = [f"{master.address}:{_API_PORT}" for master in masters]
    argv: list[str | Path] = [
        *place.prefix,
        sys.executable,
        _BALANCER,
        f"{place.address}:{_API_PORT}",
        *targets,
    ]
    service = Service("balancer", argv, directory / "balancer.log")
    try:
        service.start()
        yield
    finally:
        service.stop()
