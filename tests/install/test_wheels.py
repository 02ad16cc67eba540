"""The wheels on a machine without the checkout: in a fresh virtual environment, and with pipx."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DISTRIBUTIONS = (
    "jobworker_agent",
    "jobworker_api",
    "jobworker_cli",
    "jobworker_client",
    "jobworker_cluster",
    "jobworker_dashboard",
    "jobworker_gateway",
    "jobworker_worker",
)


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("wheels")
    subprocess.run([ROOT / "tools/make-wheels", directory], check=True)
    return directory


def new_environment(directory: Path) -> Path:
    """Create a virtual environment and return its directory of programs."""
    subprocess.run([sys.executable, "-m", "venv", directory], check=True)
    return directory / "bin"


def output(*command: str | Path, directory: Path, **variables: str) -> str:
    done = subprocess.run(
        [str(each) for each in command],
        check=True,
        cwd=directory,
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        text=True,
    )
    return done.stdout


def test_all_are_built_and_a_build_can_be_repeated(wheels: Path, tmp_path: Path) -> None:
    assert sorted(wheel.name.split("-")[0] for wheel in wheels.iterdir()) == list(DISTRIBUTIONS)
    subprocess.run([ROOT / "tools/make-wheels", tmp_path], check=True)
    for wheel in wheels.iterdir():
        assert wheel.read_bytes() == (tmp_path / wheel.name).read_bytes(), wheel.name


def test_pip_installs_all_programs(wheels: Path, tmp_path: Path) -> None:
    programs = new_environment(tmp_path / "venv")
    names = [name.replace("_", "-") for name in DISTRIBUTIONS]
    output(programs / "pip", "install", "--quiet", "--find-links", wheels, *names, directory=tmp_path)
    for name in ("jobworker", "jobworkerd", "jobworkerd-dashboard", "jobworker-gateway", "jobworker-agent"):
        assert output(programs / name, "--version", directory=tmp_path).startswith(f"{name} ")
    code = "import jobworker_client; print(jobworker_client.__file__)"
    assert str(tmp_path) in output(programs / "python", "-c", code, directory=tmp_path)


def test_pipx_installs_the_command(wheels: Path, tmp_path: Path) -> None:
    programs = new_environment(tmp_path / "venv")
    output(programs / "pip", "install", "--quiet", "pipx", directory=tmp_path)
    home = {"PIPX_HOME": str(tmp_path / "pipx"), "PIPX_BIN_DIR": str(tmp_path / "bin")}
    options = f"--pip-args=--find-links {wheels}"
    output(programs / "pipx", "install", options, "jobworker-cli", directory=tmp_path, **home)
    assert output(tmp_path / "bin/jobworker", "--version", directory=tmp_path).startswith("jobworker ")
    assert not (tmp_path / "bin/jobworkerd").exists()
