"""The Debian package jobworker-cluster. Each test continues where the previous one ended."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.install.conftest import ADDRESS, ROOT
from tests.install.machine import Machine

UNITS = ("jobworker-agent.service", "jobworker-gateway.service")
# Worse hardening of the units than today's fails; systemd-analyze takes tenths.
MOST_EXPOSURE = 25
KUBECONFIG = """\
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "http://127.0.0.1:9"}}]
users: [{name: u, user: {token: none}}]
contexts: [{name: c, context: {cluster: c, user: u}}]
current-context: c
"""
DIRECTORIES = "/opt /etc/job-worker /lib/systemd/system /usr/bin /var/lib"
FILES = f"find {DIRECTORIES} -path /var/lib/dpkg -prune -o -print | sort"


@pytest.fixture(scope="module")
def cluster_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package of this checkout."""
    return _make(tmp_path_factory.mktemp("cluster-package"))


def _make(directory: Path, **variables: str) -> Path:
    command: list[str | Path] = [ROOT / "tools/make-deb", "--package", "jobworker-cluster", directory]
    environment = {**os.environ, **variables}
    built = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return Path(built.stdout.strip())


def test_a_build_can_be_repeated(cluster_package: Path, tmp_path: Path) -> None:
    again = _make(tmp_path, TZ="Pacific/Kiritimati")
    assert again.name == cluster_package.name
    assert again.read_bytes() == cluster_package.read_bytes()


def test_lintian_finds_no_fault(cluster_package: Path) -> None:
    command: list[str | Path] = ["lintian", "--allow-root", "--fail-on", "error,warning", cluster_package]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stdout) == (0, "")


def test_installation_starts_nothing(machine: Machine, cluster_package: Path) -> None:
    shutil.copy(cluster_package, machine.shared / "cluster.deb")
    machine.run("apt-get install -y /host/first.deb")
    machine.run(f"{FILES} >/host/files-before-cluster")
    machine.run("apt-get install -y /host/cluster.deb")
    for unit in UNITS:
        program = unit.removesuffix(".service")
        assert machine.output(f"{program} --version").startswith(f"{program} ")
        assert machine.run(f"systemctl is-enabled {unit}", check=False).stdout.strip() == "disabled"
        assert machine.run(f"systemctl is-active {unit}", check=False).stdout.strip() == "inactive"


@pytest.mark.parametrize("unit", UNITS)
def test_systemd_finds_no_fault_in_the_unit(machine: Machine, unit: str) -> None:
    verified = machine.run(f"systemd-analyze verify {unit}")
    assert verified.stdout + verified.stderr == ""
    machine.run(f"systemd-analyze security --threshold={MOST_EXPOSURE} {unit}")


def test_the_programs_run_as_users_and_wait_for_the_cluster(machine: Machine) -> None:
    (machine.shared / "kubeconfig").write_text(KUBECONFIG)
    machine.run("jobworkerd certs issue gateway --role gateway")
    machine.run("install -m 600 /host/kubeconfig /etc/job-worker/agent.kubeconfig")
    files = "ca.pem server.pem server-key.pem gateway.pem gateway-key.pem /host/kubeconfig"
    put = f"install -o jobworker-gateway -m 600 {files} /etc/job-worker/gateway"
    machine.run(f"cd /opt/job-worker/certs && {put}")
    machine.run("sed -i '0,/^#listen = .*/s||listen = \"127.0.0.1:50061\"|' /etc/job-worker/gateway.toml")
    machine.run(f"sed -i 's|^#address = .*|address = \"{ADDRESS}:50051\"|' /etc/job-worker/agent.toml")
    for unit in UNITS:
        machine.run(f"systemctl start {unit}")
    machine.eventually("jobworkerd health --server localhost:50061 2>&1 | grep NOT_SERVING")
    for unit in UNITS:
        assert machine.output(f"systemctl is-active {unit}") == "active"
        assert machine.output(f"systemctl show --value -p NRestarts {unit}") == "0"
        pid = machine.output(f"systemctl show --value -p MainPID {unit}")
        assert machine.output(f"stat -c %U /proc/{pid}") != "root"


def test_the_journal_says_that_the_cluster_does_not_answer(machine: Machine) -> None:
    for unit, event in zip(UNITS, ("node not written", "cluster not reachable"), strict=True):
        machine.eventually(f"journalctl -u {unit} | grep '{event}'")


@pytest.mark.parametrize("unit", UNITS)
def test_a_killed_program_starts_again(machine: Machine, unit: str) -> None:
    machine.run(f"systemctl kill --signal=KILL {unit}")
    machine.eventually(
        f"systemctl show --value -p NRestarts {unit} | grep -x 1 && systemctl is-active {unit}"
    )
    # Not again: the second start needs nothing that the first one has used up.
    machine.eventually("jobworkerd health --server localhost:50061 2>&1 | grep NOT_SERVING")
    assert machine.output(f"systemctl show --value -p NRestarts {unit}") == "1"


def test_a_removal_stops_the_programs_and_not_the_server(machine: Machine) -> None:
    machine.run("apt-get remove -y jobworker-cluster")
    assert machine.run("pgrep -f job-worker/cluster", check=False).stdout == ""
    assert machine.output("systemctl is-active jobworkerd") == "active"
    machine.run("test -e /etc/job-worker/gateway/gateway-key.pem")


def test_a_purge_leaves_nothing(machine: Machine) -> None:
    machine.run("apt-get purge -y jobworker-cluster")
    machine.run("rm /etc/job-worker/agent.kubeconfig /opt/job-worker/certs/gateway*.pem")
    machine.run(f"{FILES} >/host/files-after-cluster")
    before, after = ((machine.shared / f"files-{when}-cluster").read_text() for when in ("before", "after"))
    assert sorted({*after.split("\n")} - {*before.split("\n")}) == []
