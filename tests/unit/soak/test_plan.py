"""The commands of the jobs of the fault test."""

import subprocess
from pathlib import Path

import pytest

from tests.soak.faults.plan import STDERR, STDOUT, JobFiles, Kind, make_plan

SEED = 7


@pytest.mark.parametrize("kind", [Kind.SHORT, Kind.LARGE, Kind.NOISY])
def test_a_command_writes_what_its_plan_says(tmp_path: Path, kind: Kind) -> None:
    files = JobFiles.make(tmp_path, SEED)
    plan = make_plan(SEED, 1, queues=False, kind=kind)
    done = subprocess.run(["sh", "-c", plan.script(files)], capture_output=True, check=False, timeout=60)
    pattern = files.pattern.read_bytes()
    assert (done.stdout, done.stderr) == (plan.expected(STDOUT, pattern), plan.expected(STDERR, pattern))
    assert done.returncode == plan.exit_code
    assert list(files.marks()) == [("start", plan.request_id), ("written", plan.request_id)]
