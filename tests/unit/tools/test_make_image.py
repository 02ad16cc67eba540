"""tools/make-image: the engine that it chooses, and the names of the image."""

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
    add_engine(programs, engine.split()[0], works=True)
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


def test_the_daemonset_runs_the_image_of_this_version() -> None:
    manifest = (ROOT / "packaging/kubernetes/daemonset.yaml").read_text()
    assert f"image: jobworker:{VERSION}\n" in manifest


def test_variables_of_a_kubernetes_service_are_no_settings() -> None:
    """Kubernetes adds JOBWORKERD_PORT for a service `jobworkerd`, which the server would refuse."""
    manifest = (ROOT / "packaging/kubernetes/daemonset.yaml").read_text()
    assert "enableServiceLinks: false\n" in manifest
