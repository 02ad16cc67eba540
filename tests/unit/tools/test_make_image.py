"""tools/make-image and its files: the engine, the names of the image, and the parts of each image."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
VERSION = tomllib.loads((ROOT / "services/worker/pyproject.toml").read_text())["project"]["version"]


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A directory of engines, which `make_image` finds before those of this host."""
    directory = tmp_path / "bin"
    directory.mkdir()
    for name in ("docker", "podman"):
        add_engine(directory, name, works=False)
    return directory


def add_engine(programs: Path, name: str, *, works: bool) -> None:
    """Create an engine that prints what it builds, and whose service works or does not."""
    engine = programs / name
    engine.write_text(f'#!/bin/sh\n[ "$1" != info ] || exit {0 if works else 1}\necho {name} "$@"\n')
    engine.chmod(0o755)


def make_image(programs: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [ROOT / "tools/make-image", *arguments],
        env={"PATH": f"{programs}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_host_without_an_engine_gets_one_sentence(programs: Path) -> None:
    done = make_image(programs)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("make-image: neither docker nor podman works here; install one of them")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("engine", ["docker build", "podman build --format docker"])
def test_the_engine_that_works_builds_the_image(programs: Path, engine: str) -> None:
    """The default format of Podman, OCI, has no health check."""
    add_engine(programs, engine.split(maxsplit=1)[0], works=True)
    tags = f"--tag jobworker:{VERSION} --tag jobworker:latest"
    expected = f"{engine} --file packaging/image/Dockerfile {tags} .\n"
    assert make_image(programs).stdout == expected


def test_the_gateway_has_an_image_of_its_own(programs: Path) -> None:
    add_engine(programs, "podman", works=True)
    tags = f"--tag jobworker-gateway:{VERSION} --tag jobworker-gateway:latest"
    expected = f"podman build --format docker --file packaging/image/gateway.Dockerfile {tags} .\n"
    assert make_image(programs, "gateway").stdout == expected


def test_an_unknown_image_is_an_error(programs: Path) -> None:
    done = make_image(programs, "agent")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "make-image: unknown image agent; use gateway, or nothing for the server\n"


@pytest.mark.parametrize("name", ["Dockerfile", "gateway.Dockerfile"])
def test_an_image_has_all_packages_of_this_project_that_its_packages_need(name: str) -> None:
    """`--no-deps` installs an image without them, too, and its program does not start."""
    lines = (ROOT / "packaging/image" / name).read_text().replace("\\\n", " ").splitlines()
    (command,) = [each for each in lines if "--no-deps" in each]
    projects = [
        tomllib.loads((ROOT / each / "pyproject.toml").read_text())["project"]
        for each in re.findall(r"\./(\S+)", command)
    ]
    needed = {need for project in projects for need in project.get("dependencies", ())}
    own = {need.split("==")[0] for need in needed if need.startswith("jobworker-")}
    assert own - {project["name"] for project in projects} == set()


def test_the_probe_of_a_gateway_reads_the_certificates_that_the_deployment_mounts() -> None:
    """`jobworkerd` of another user than root would search them in its home."""
    image = (ROOT / "packaging/image/gateway.Dockerfile").read_text()
    manifest = (ROOT / "packaging/kubernetes/cluster/gateway.yaml").read_text()
    (directory,) = re.findall(r"JOBWORKERD_CERTS_DIR=(\S+)", image)
    assert re.search(rf"name: certs\n +mountPath: {directory}\n", manifest)


def test_the_daemonset_runs_the_image_of_this_version() -> None:
    manifest = (ROOT / "packaging/kubernetes/daemonset.yaml").read_text()
    assert f"image: jobworker:{VERSION}\n" in manifest


def test_variables_of_a_kubernetes_service_are_no_settings() -> None:
    """Kubernetes adds JOBWORKERD_PORT for a service `jobworkerd`, which the server would refuse."""
    manifest = (ROOT / "packaging/kubernetes/daemonset.yaml").read_text()
    assert "enableServiceLinks: false\n" in manifest
