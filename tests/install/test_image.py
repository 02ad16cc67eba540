"""The parts of the container image that run without a container engine, in a guest kernel with cgroup v2."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from live import make_certificates

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
# Engines start a container in its own cgroup.
ENGINE = """
mkdir /sys/fs/cgroup/box
echo $$ >/sys/fs/cgroup/box/cgroup.procs
{container}
"""
NAMESPACE = """
exec unshare --mount --cgroup bash -c '
  umount --lazy /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup && exec bash container'
"""
CONTAINER = f"""
{ROOT}/packaging/image/entrypoint serve & server=$!
for attempt in $(seq 100); do
  if {BIN}/jobworkerd health; then break; fi
  sleep 0.3
done
{BIN}/jobworker run --max-memory=64 sh -c '
  cut -d: -f3 /proc/self/cgroup
  cat /sys/fs/cgroup$(cut -d: -f3 /proc/self/cgroup)/memory.max'
kill $server
wait $server
"""


@pytest.fixture(scope="module")
def certs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificates(BIN, tmp_path_factory.mktemp("made") / "certs")


@pytest.mark.parametrize(
    ("container", "cgroup"),
    [
        pytest.param(NAMESPACE, "/job-worker/jobs/", id="private cgroup namespace"),
        pytest.param("bash container", "/box/job-worker/jobs/", id="cgroup namespace of the host"),
    ],
)
def test_entrypoint_enables_the_controllers_of_a_container(
    certs: Path, tmp_path: Path, container: str, cgroup: str
) -> None:
    (tmp_path / "container").write_text(CONTAINER)
    settings = {
        "JOBWORKERD_CERTS_DIR": str(certs),
        "JOBWORKERD_STATE_DIR": "/mnt/disk/state",
        "JOBWORKER_CERTS": str(certs),
    }
    guest: list[str | Path] = [
        ROOT / "tests/guest/in-guest",
        "--engine",
        "uml",
        "--share",
        ROOT,
        "--share",
        certs,
    ]
    done = subprocess.run(
        [*guest, "--", "bash", "-c", ENGINE.format(container=container)],
        cwd=tmp_path,
        env={**os.environ, **settings, "PATH": f"{BIN}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    health, path, limit = done.stdout.splitlines()
    assert (health, limit) == ("SERVING", "67108864")
    assert path.startswith(cgroup)
