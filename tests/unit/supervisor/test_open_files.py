"""The limits on open files of the server and of jobs."""

import resource
import subprocess
import sys

import pytest

from jobworkerd.spawn import headroom
from jobworkerd.spawn.headroom import RESERVED
from jobworkerd.supervisor import open_files


def test_the_message_for_a_low_limit_names_the_possible_number_of_jobs() -> None:
    why = open_files.too_few(500, 256)
    assert why.startswith(
        "max_jobs: 500 jobs need 4596 open files, but the limit of 256 is enough for about 17 jobs;"
    )
    assert open_files.too_few(17, 256) == ""
    assert open_files.too_few(500, 4_596) == ""
    assert "about 0 jobs;" in open_files.too_few(1, 10)


def test_jobs_have_the_configured_limits() -> None:
    script = (
        "import resource\n"
        "from jobworkerd.supervisor import open_files\n"
        "print(open_files.of_jobs(1024, 4096), resource.getrlimit(resource.RLIMIT_NOFILE))"
    )
    run = subprocess.run(
        ["prlimit", "--nofile=100:8192", sys.executable, "-c", script],
        check=True,
        capture_output=True,
        text=True,
    )
    assert run.stdout == "(1024, 4096) (100, 8192)\n"


def test_a_fixed_hard_limit_bounds_the_limits_of_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_resource: int, limits: tuple[int, int]) -> None:
        if limits[1] > 256:
            raise ValueError("not allowed to raise maximum limit")

    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 256))
    monkeypatch.setattr(resource, "setrlimit", refuse)
    assert open_files.of_jobs(1_024, 4_096) == (256, 256)
    assert open_files.of_jobs(16, 128) == (16, 128)


def test_headroom_restores_the_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with headroom.reserved():
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (soft - RESERVED, hard)
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (soft, hard)
