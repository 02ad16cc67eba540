"""Where the jobs' cgroups go."""

from pathlib import Path

import pytest

from jobworkerd.cgroup.hierarchy import BadBase, Hierarchy, resolve_base

V2, HYBRID = Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified")


@pytest.mark.parametrize(
    ("configured", "mount", "base"),
    [
        ("/sys/fs/cgroup/job-worker", V2, "/sys/fs/cgroup/job-worker"),
        ("/sys/fs/cgroup/a/b/", V2, "/sys/fs/cgroup/a/b"),
        ("/sys/fs/cgroup/job-worker", HYBRID, "/sys/fs/cgroup/unified/job-worker"),
        ("/sys/fs/cgroup/unified/job-worker", HYBRID, "/sys/fs/cgroup/unified/job-worker"),
        ("/sys/fs/cgroup/a/../b", V2, "/sys/fs/cgroup/b"),
        ("/mnt/cgroup/jobs", Path("/mnt/cgroup"), "/mnt/cgroup/jobs"),
        ("/sys/fs/cgroup/jobs", Path("/mnt/cgroup"), "/mnt/cgroup/jobs"),
    ],
)
def test_resolve_base(configured: str, mount: Path, base: str) -> None:
    assert resolve_base(configured, mount) == Path(base)


@pytest.mark.parametrize(
    "configured", ["/srv/jobs", "/sys/fs/cgroup", "/", "/sys/fs/cgroup/../x", "/sys/fs/cgroup2/x"]
)
def test_a_base_that_is_no_cgroup(configured: str) -> None:
    with pytest.raises(BadBase, match="is no directory below /sys/fs/cgroup, where cgroup v2 is mounted"):
        resolve_base(configured, V2)


def test_reasons() -> None:
    assert Hierarchy(None, "no cgroups here").reason("cpu") == "no cgroups here"
    assert Hierarchy(Path("/x"), missing={"cpu": "held by v1"}).reason("cpu") == "held by v1"
    assert Hierarchy(Path("/x"), missing={"cpu": "held by v1"}).reason("io") == ""


def test_close_removes_what_was_made_and_is_empty(tmp_path: Path) -> None:
    made = (tmp_path / "a", tmp_path / "a/b", tmp_path / "a/b/c")
    for directory in made:
        directory.mkdir()
    (tmp_path / "a/other").mkdir()
    Hierarchy(made[-1], made=made).close()
    assert [entry.name for entry in made[0].iterdir()] == ["other"]
