"""The commands for a cluster in docs/cluster.md, dashboard.md and grpcurl.md do what the pages say."""

import base64
import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from jobworker.v1 import job_pb2
from jobworker_cluster.kube import Kube
from jobworker_cluster.resources import NODE_LEASES
from live_client import Client
from tests.cluster.calls import on
from tests.cluster.control_plane import ControlPlane, find_programs
from tests.cluster.hosts import BIN
from tests.cluster.packaged import NAMESPACE
from tests.cluster.whole import Cluster
from tests.docs.pages import blocks

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/cluster.md"
RECIPES = ROOT / "docs/grpcurl.md"
DASHBOARD_PAGE = ROOT / "docs/dashboard.md"

Shell = Callable[[str], str]


def _documented(text: str, page: Path = PAGE) -> str:
    """Return the only block of a page with a text."""
    (found,) = [block.code for block in blocks(page) if text in block.code]
    return found


def _shell(plane: ControlPlane, directory: Path) -> Shell:
    """Return a function that runs commands as an administrator of Kubernetes, and returns their output."""
    environment = {
        **os.environ,
        "PATH": f"{find_programs()}:{BIN}:{os.environ['PATH']}",
        "KUBECONFIG": str(plane.kubeconfig("admin", "system:masters")),
    }

    def run(commands: str) -> str:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", commands],
            cwd=directory,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{commands}\n{done.stdout}{done.stderr}"
        return done.stdout

    return run


@pytest.fixture
def shell(control_plane: ControlPlane, tmp_path: Path) -> Shell:
    """A shell in a directory with the authority of the control plane and a link to the manifests."""
    (tmp_path / "k8s-ca.pem").write_bytes(control_plane.certificates.ca.read_bytes())
    (tmp_path / "packaging").symlink_to(ROOT / "packaging")
    return _shell(control_plane, tmp_path)


def _write_kubeconfig(shell: Shell, control_plane: ControlPlane, file: Path) -> None:
    commands = _documented("kubectl config set-cluster")
    for documented, here in {
        "/etc/job-worker/agent.kubeconfig": str(file),
        "https://k8s.example.org:6443": control_plane.server,
    }.items():
        assert documented in commands
        commands = commands.replace(documented, here)
    shell(commands)
    assert file.stat().st_mode & 0o777 == 0o600


def test_the_manifests_can_be_applied_together_and_again(shell: Shell) -> None:
    # The Deployment is in the same directory, so the page has the command twice.
    command = "kubectl apply -k packaging/kubernetes/cluster"
    assert PAGE.read_text().count(command) == 2
    shell(command)
    assert "created" not in shell(command)


async def test_a_signed_request_makes_an_agent(
    shell: Shell, control_plane: ControlPlane, tmp_path: Path
) -> None:
    shell(_documented("kind: CertificateSigningRequest"))
    kubeconfig = tmp_path / "agent.kubeconfig"
    _write_kubeconfig(shell, control_plane, kubeconfig)
    run = f"kubectl --kubeconfig={kubeconfig}"
    assert "system:node:host1" in shell(f"{run} auth whoami")
    assert shell(f"{run} get nodes 2>&1 || true").startswith("Error from server (Forbidden)")
    kube = await Kube.connect(kubeconfig)
    try:
        created = await kube.create(NODE_LEASES, {"metadata": {"name": "host1"}})
        assert created["metadata"]["name"] == "host1"
    finally:
        await kube.close()
        shell("kubectl -n kube-node-lease delete lease host1 --ignore-not-found")


def test_a_signed_request_makes_a_gateway(shell: Shell, control_plane: ControlPlane, tmp_path: Path) -> None:
    subject, signer = (
        "/CN=system:serviceaccount:jobworker:jobworker-gateway",
        "kubernetes.io/kube-apiserver-client",
    )
    page, commands = PAGE.read_text(), _documented("kind: CertificateSigningRequest")
    for documented, here in {
        "name=host1": "name=gateway",
        "/O=system:nodes/CN=system:node:$name": subject,
        "kubernetes.io/kube-apiserver-client-kubelet": signer,
    }.items():
        assert documented in commands
        commands = commands.replace(documented, here)
    assert f"`{subject}`" in page
    assert f"`{signer}`" in page
    shell(commands)
    kubeconfig = tmp_path / "gateway.kubeconfig"
    _write_kubeconfig(shell, control_plane, kubeconfig)
    run = f"kubectl --kubeconfig={kubeconfig}"
    assert shell(f"{run} -n {NAMESPACE} auth can-i create pods") == "yes\n"
    assert shell(f"{run} auth can-i create pods 2>&1 || true").endswith("no\n")


def test_the_service_account_has_a_token_for_a_year(shell: Shell) -> None:
    apply = "kubectl apply -f packaging/kubernetes/cluster/agent-service-account.yaml"
    create = "kubectl -n jobworker create token jobworker-agent --duration=8760h"
    for command in (apply, create):
        assert f"`{command}`" in PAGE.read_text()
    shell(apply)
    claims = json.loads(base64.urlsafe_b64decode(shell(create).split(".")[1] + "=="))
    assert claims["exp"] - claims["iat"] == 8760 * 3600


def test_the_secrets_of_the_gateways_have_the_files_that_they_need(shell: Shell) -> None:
    shell(_documented("jobworkerd certs init"))
    shell(_documented("create secret generic jobworker-gateway-certs"))
    found = shell(f"kubectl -n {NAMESPACE} describe secret jobworker-gateway-certs")
    for name in ("ca", "server", "server-key", "gateway", "gateway-key", "viewer", "viewer-key"):
        assert f"{name}.pem:" in found
    shell(f"kubectl -n {NAMESPACE} delete secret jobworker-gateway-archive jobworker-gateway-certs")


def test_the_secrets_of_the_dashboard_have_the_files_that_it_needs(shell: Shell) -> None:
    shell(_documented("jobworkerd certs init"))
    # Any certificate can be the one for browsers.
    shell("cp certs/server.pem tls.pem; cp certs/server-key.pem tls-key.pem")
    shell(_documented("create secret tls jobworker-dashboard-tls", DASHBOARD_PAGE))
    for secret, names in {
        "certs": ("ca.pem", "dashboard.pem", "dashboard-key.pem"),
        "tls": ("tls.crt", "tls.key"),
    }.items():
        found = shell(f"kubectl -n {NAMESPACE} describe secret jobworker-dashboard-{secret}")
        assert all(f"{name}:" in found for name in names)
    shell(f"kubectl -n {NAMESPACE} delete secret jobworker-dashboard-certs jobworker-dashboard-tls")


async def test_a_host_is_drained_and_back(cluster: Cluster, admin: Client, tmp_path: Path) -> None:
    shell, page = _shell(cluster.control_plane, tmp_path), " ".join(PAGE.read_text().split())
    job = await admin.create("sh", "-c", "echo up; sleep 600", node_selector=on("node-1"))
    await admin.wrote(job.id, b"up")
    for command in ("cordon host1", "drain host1 --ignore-daemonsets --force"):
        assert f"`kubectl {command}`" in page
        shell(f"kubectl {command} --request-timeout=60s".replace("host1", "node-1"))
    ended = await admin.ended(job.id)
    assert ended.termination.reason == job_pb2.TERMINATION_REASON_EVICTED
    assert "SchedulingDisabled" in shell("kubectl get nodes -l jobworker.dev/node")
    assert "`kubectl uncordon host1`" in page
    shell("kubectl uncordon node-1")
    listed = shell("kubectl get nodes -l jobworker.dev/node")
    assert [line.split()[1] for line in listed.splitlines()[1:]] == ["Ready"] * len(cluster.hosts)
    after, _ = await admin.run("true", node_selector=on("node-1"))
    assert after.status == job_pb2.JOB_STATUS_COMPLETED


def test_the_recipes_list_the_nodes(cluster: Cluster, tmp_path: Path) -> None:
    server = cluster.gateway.server
    variables = f"export JOBWORKER_SERVER={server.address} JOBWORKER_CERTS={server.certs}\n"
    recipes = (_documented(text, RECIPES) for text in ("rpc() { grpcurl", "bufrpc() {", "ClusterService"))
    printed = _shell(cluster.control_plane, tmp_path)(variables + "".join(recipes))
    for host in cluster.hosts:
        assert len(re.findall(f'"name": *"{host.name}"', printed)) == 2
