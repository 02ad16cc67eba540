"""The limits on open files: enough for the jobs, and the same for each job."""

import resource
import subprocess
import sys

import pytest

from jobworkerd.spawn import headroom
from jobworkerd.spawn.headroom import RESERVED
from jobworkerd.supervisor import open_files


def test_a_limit_that_is_too_low_names_how_many_jobs_fit() -> None:
    why = open_files.too_few(500, 256)
    assert why.startswith(
        "max_jobs: 500 jobs need 4596 open files, and the limit of 256 is enough for about 17;"
    )
    assert open_files.too_few(17, 256) == ""
    assert open_files.too_few(500, 4_596) == ""
    assert "about 0;" in open_files.too_few(1, 10)


def test_jobs_have_what_is_configured_whatever_the_server_has() -> None:
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


def test_a_hard_limit_that_cannot_be_raised_bounds_that_of_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_resource: int, limits: tuple[int, int]) -> None:
        if limits[1] > 256:
            raise ValueError("not allowed to raise maximum limit")

    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 256))
    monkeypatch.setattr(resource, "setrlimit", refuse)
    assert open_files.of_jobs(1_024, 4_096) == (256, 256)
    assert open_files.of_jobs(16, 128) == (16, 128)


def test_headroom_ends_where_it_began() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with headroom.kept():
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (soft - RESERVED, hard)
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (soft, hard)
