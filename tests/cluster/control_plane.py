"""A control plane of Kubernetes: one of each program on this host, or several in network namespaces."""

import contextlib
import json
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.cluster import audit
from tests.cluster.kube_api import KubeApi, wait_until_ready
from tests.cluster.pki import ClusterCertificates
from tests.cluster.place import LOOPBACK, Place
from tests.cluster.service import Service

_ROOT = Path(__file__).parents[2]

_CONTROLLERS = (
    "node-lifecycle-controller",
    "taint-eviction-controller",
    "pod-garbage-collector-controller",
    "namespace-controller",
    "garbage-collector-controller",
    "resourcequota-controller",
    "serviceaccount-controller",
    "certificatesigningrequest-signing-controller",
)
"""Those that the cluster and docs/cluster.md need; the others would only need time and memory."""

_LEADER = (
    "--leader-elect=true",
    "--leader-elect-lease-duration=8s",
    "--leader-elect-renew-deadline=5s",
    "--leader-elect-retry-period=1s",
)
_UNBOUNDED = ("--kube-api-qps=1000", "--kube-api-burst=1000")
"""The default of the scheduler, 50 calls per second, would bound the figures of the benchmark."""


def find_programs() -> Path:
    """Return the directory of the programs of the control plane.

    Raises:
        AssertionError: they are not built; the message says how to build them.
    """
    found = subprocess.run([_ROOT / "tools/control-plane"], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    return Path(found.stdout.strip())


@dataclass(frozen=True)
class Layout:
    """Places of the programs. One place can have several of them.

    `balancer` is the address of a load balancer for the apiservers; empty = clients use the first apiserver.
    """

    etcd: Sequence[Place] = (LOOPBACK,)
    apiserver: Sequence[Place] = (LOOPBACK,)
    controllers: Sequence[Place] = (LOOPBACK,)
    balancer: str = ""


@dataclass
class ControlPlane:
    """A control plane that runs. `server` is the address for clients, `servers` those of each apiserver."""

    directory: Path
    certificates: ClusterCertificates
    server: str
    servers: tuple[str, ...]
    etcd_urls: tuple[str, ...]
    etcd: list[Service] = field(default_factory=list)
    apiservers: list[Service] = field(default_factory=list)
    schedulers: list[Service] = field(default_factory=list)
    controller_managers: list[Service] = field(default_factory=list)

    @property
    def services(self) -> list[Service]:
        """All programs."""
        return [*self.etcd, *self.apiservers, *self.schedulers, *self.controller_managers]

    @property
    def audit_log(self) -> Path:
        """The calls of the service accounts at the first apiserver."""
        return self.directory / "audit0.log"

    def api(self, number: int = 0) -> KubeApi:
        """Return an apiserver, called by an administrator."""
        client = self.certificates.client("admin", "admin", "system:masters")
        return KubeApi(self.servers[number], self.certificates.ca, client)

    def kubeconfig(self, user: str, group: str | None = None, *, server: str | None = None) -> Path:
        """Return a kubeconfig file for a user, such as `system:node:a` of the group `system:nodes`."""
        name = user.replace(":", "-")
        return self.certificates.kubeconfig(server or self.server, name, user, group)


@contextlib.contextmanager
def running(directory: Path, layout: Layout | None = None) -> Iterator[ControlPlane]:
    """Start a control plane with its files in a new directory, and stop it at the end."""
    started = _Starter(directory, layout or Layout()).control_plane
    try:
        for service in started.services:
            service.start()
        for number in range(len(started.servers)):
            wait_until_ready(started.api(number))
        yield started
    finally:
        # The last to start is the first to stop, so that no program waits for another.
        for service in reversed(started.services):
            service.stop()


class _Starter:
    """The commands of the programs of a control plane."""

    def __init__(self, directory: Path, layout: Layout) -> None:
        self._programs = find_programs()
        self._directory = directory
        self._layout = layout
        hosts = {*(place.address for place in layout.apiserver), layout.balancer or "localhost"}
        self._certificates = ClusterCertificates(directory / "certs")
        self._serving = self._certificates.server("apiserver", sorted(hosts))
        apis = [(place, place.port(6443)) for place in layout.apiserver]
        servers = tuple(f"https://{place.address}:{port}" for place, port in apis)
        server = f"https://{layout.balancer}:{apis[0][1]}" if layout.balancer else servers[0]
        members = [(place, place.port(2379), place.port(2380)) for place in layout.etcd]
        urls = tuple(f"http://{place.address}:{port}" for place, port, _ in members)
        self.control_plane = ControlPlane(directory, self._certificates, server, servers, urls)
        self._clients = ",".join(urls)
        self._peers = ",".join(
            f"etcd{number}=http://{place.address}:{port}" for number, (place, _, port) in enumerate(members)
        )
        for number, (place, client, peer) in enumerate(members):
            self.control_plane.etcd.append(self._etcd(number, place, client, peer))
        for number, (place, port) in enumerate(apis):
            self.control_plane.apiservers.append(self._apiserver(number, place, port))
        for number, place in enumerate(layout.controllers):
            # Each talks to the apiserver beside it.
            own = servers[number % len(servers)]
            self.control_plane.schedulers.append(self._scheduler(number, place, own))
            self.control_plane.controller_managers.append(self._controller_manager(number, place, own))

    def _service(self, program: str, number: int, place: Place, *flags: str) -> Service:
        name = f"{program}-{number}"
        argv: list[str | Path] = [*place.prefix, self._programs / program, *flags]
        return Service(name, argv, self._directory / f"{name}.log")

    def _etcd(self, number: int, place: Place, client: int, peer: int) -> Service:
        own_peer = f"http://{place.address}:{peer}"
        return self._service(
            "etcd",
            number,
            place,
            f"--name=etcd{number}",
            f"--data-dir={self._directory / f'etcd{number}'}",
            f"--listen-client-urls=http://{place.address}:{client}",
            f"--advertise-client-urls=http://{place.address}:{client}",
            f"--listen-peer-urls={own_peer}",
            f"--initial-advertise-peer-urls={own_peer}",
            f"--initial-cluster={self._peers}",
            "--heartbeat-interval=200",
            "--election-timeout=2000",
            "--logger=zap",
        )

    def _apiserver(self, number: int, place: Place, port: int) -> Service:
        tokens = self._certificates.service_accounts
        policy = self._directory / "audit-policy.json"
        policy.write_text(json.dumps(audit.POLICY))
        return self._service(
            "kube-apiserver",
            number,
            place,
            f"--etcd-servers={self._clients}",
            f"--secure-port={port}",
            f"--bind-address={place.address}",
            f"--advertise-address={place.address}",
            "--endpoint-reconciler-type=none",
            f"--cert-dir={self._directory / f'apiserver{number}'}",
            f"--client-ca-file={self._certificates.ca}",
            f"--tls-cert-file={self._serving.certificate}",
            f"--tls-private-key-file={self._serving.key}",
            f"--service-account-key-file={tokens.certificate}",
            f"--service-account-signing-key-file={tokens.key}",
            "--service-account-issuer=https://kubernetes.test",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            f"--audit-policy-file={policy}",
            f"--audit-log-path={self._directory / f'audit{number}.log'}",
            "--v=1",
        )

    def _scheduler(self, number: int, place: Place, server: str) -> Service:
        kubeconfig = self._kubeconfig(server, f"scheduler{number}", "system:kube-scheduler")
        return self._service(
            "kube-scheduler",
            number,
            place,
            *_client_flags(kubeconfig, place.port(10259)),
            *_LEADER,
            *_UNBOUNDED,
            # The decisions about each Pod, which tests read.
            "--vmodule=schedule_one=2",
        )

    def _controller_manager(self, number: int, place: Place, server: str) -> Service:
        user = "system:kube-controller-manager"
        kubeconfig = self._kubeconfig(server, f"controllers{number}", user)
        return self._service(
            "kube-controller-manager",
            number,
            place,
            *_client_flags(kubeconfig, place.port(10257)),
            *_LEADER,
            *_UNBOUNDED,
            f"--controllers={','.join(_CONTROLLERS)}",
            # The agents renew their leases, of 15 s, every 3 s.
            "--node-monitor-grace-period=16s",
            "--node-monitor-period=2s",
            "--use-service-account-credentials=true",
            f"--service-account-private-key-file={self._certificates.service_accounts.key}",
            f"--root-ca-file={self._certificates.ca}",
            f"--cluster-signing-cert-file={self._certificates.ca}",
            f"--cluster-signing-key-file={self._certificates.ca_key}",
        )

    def _kubeconfig(self, server: str, name: str, user: str) -> Path:
        return self._certificates.kubeconfig(server, name, user)


def _client_flags(kubeconfig: Path, port: int) -> tuple[str, ...]:
    return (
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        "--bind-address=127.0.0.1",
        f"--secure-port={port}",
    )
