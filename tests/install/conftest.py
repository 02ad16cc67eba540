"""The Debian package, an upgrade, and the machine on which the tests install them one after another."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.install.machine import Machine, running
from tests.install.service import USER

ROOT = Path(__file__).parents[2]
EVENT_OF_THE_UPGRADE = "serving after the upgrade"
LINE_OF_THE_UPGRADE = "# This line is new in the upgrade."
ADDRESS = "192.0.2.5"


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package of this checkout."""
    return make_package(tmp_path_factory.mktemp("package"))


def make_package(directory: Path, **variables: str) -> Path:
    """Build the package in a directory, with these environment variables."""
    command, environment = [ROOT / "tools/make-deb", directory], {**os.environ, **variables}
    built = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return Path(built.stdout.strip())


@pytest.fixture(scope="session")
def upgrade(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package of a higher version, whose server logs another event and whose settings have another line."""
    directory = tmp_path_factory.mktemp("upgrade")
    content, upgrade = directory / "content", directory / "upgrade.deb"
    subprocess.run(["dpkg-deb", "-R", package, content], check=True)
    control, settings = content / "DEBIAN/control", content / "etc/job-worker/config.toml"
    control.write_text(re.sub(r"(Version: .*)-1", r"\1-2", control.read_text()))
    settings.write_text(f"{LINE_OF_THE_UPGRADE}\n{settings.read_text()}")
    (module,) = content.glob("opt/job-worker/venv/lib/*/site-packages/jobworkerd/supervisor/serving.py")
    text = module.read_text()
    assert '"serving"' in text
    module.write_text(text.replace('"serving"', f'"{EVENT_OF_THE_UPGRADE}"'))
    compiling = ["compileall", "-q", "-f", "--invalidation-mode", "unchecked-hash", str(module)]
    subprocess.run(["/usr/bin/python3", "-m", *compiling], check=True)
    command = ["dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "-b", str(content), str(upgrade)]
    subprocess.run(command, check=True, stdout=sys.stderr)
    return upgrade


@pytest.fixture(scope="session")
def machine(package: Path, upgrade: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine with an address and a user, without the package; the package and its upgrade are in /host."""
    with running(tmp_path_factory.mktemp("machine")) as each:
        shutil.copy(package, each.shared / "first.deb")
        shutil.copy(upgrade, each.shared / "upgrade.deb")
        shutil.copy(_module("dummy"), each.shared)
        each.run(f"insmod /host/dummy.ko; ip link set dummy0 up; ip address add {ADDRESS}/24 dev dummy0")
        each.run(f"useradd -m {USER}; loginctl enable-linger {USER}")
        yield each


def _module(name: str) -> Path:
    """Return the file of a module of the machine's kernel."""
    (module,) = Path("/usr/lib/uml/modules").glob(f"*/kernel/drivers/net/{name}.ko")
    return module
