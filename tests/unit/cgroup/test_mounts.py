"""Parsing of files of proc(5) from hosts of each kind."""

from pathlib import Path

import pytest

from jobworkerd.cgroup.mounts import Mount, cgroup2_mount, mounts, own_cgroup, v1_controllers

V2 = (
    """\
22 1 259:2 / / rw,relatime shared:1 - ext4 /dev/nvme0n1p2 rw
30 22 0:26 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate
""",
    "0::/user.slice/user-0.slice/session-1.scope\n",
)
HYBRID = (
    """\
24 20 0:21 / /sys/fs/cgroup ro,nosuid shared:8 - tmpfs tmpfs ro,mode=755
25 24 0:22 / /sys/fs/cgroup/unified rw,nosuid shared:9 - cgroup2 cgroup2 rw
26 24 0:23 / /sys/fs/cgroup/memory rw,nosuid shared:10 - cgroup cgroup rw,memory
""",
    "4:memory:/a\n3:cpu,cpuacct:/a\n2:blkio:/\n1:name=systemd:/init.scope\n0::/init.scope\n",
)
V1 = (
    "26 24 0:23 / /sys/fs/cgroup/memory rw,nosuid - cgroup cgroup rw,memory\n",
    "2:pids:/\n1:name=systemd:/\n",
)


@pytest.fixture
def proc(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    mountinfo, cgroup = request.param
    (tmp_path / "self").mkdir()
    (tmp_path / "self/mountinfo").write_text(mountinfo)
    (tmp_path / "self/cgroup").write_text(cgroup)
    return tmp_path


@pytest.mark.parametrize(
    ("proc", "mount", "own", "held"),
    [
        (V2, Path("/sys/fs/cgroup"), "/user.slice/user-0.slice/session-1.scope", set()),
        (HYBRID, Path("/sys/fs/cgroup/unified"), "/init.scope", {"memory", "cpu", "cpuacct", "io"}),
        (V1, None, "/", {"pids"}),
    ],
    indirect=["proc"],
    ids=["v2", "hybrid", "v1"],
)
def test_hosts(proc: Path, mount: Path | None, own: str, held: set[str]) -> None:
    assert cgroup2_mount(proc) == mount
    assert own_cgroup(proc) == own
    assert v1_controllers(proc) == held


@pytest.mark.parametrize(
    ("line", "mount"),
    [
        (
            r"36 35 98:0 /mnt1 /mnt\040two\134 rw,noatime master:1 - ext3 /dev/root\011x rw,errors=continue",
            Mount("98:0", Path("/mnt two\\"), "ext3", "/dev/root\tx"),
        ),
        ("40 35 0:40 / /run rw - tmpfs none rw", Mount("0:40", Path("/run"), "tmpfs", "none")),
        (
            "40 35 0:41 / /x rw shared:1 master:2 propagate_from:3 - overlay overlay rw",
            Mount("0:41", Path("/x"), "overlay", "overlay"),
        ),
    ],
    ids=["escapes", "no optional fields", "several optional fields"],
)
def test_a_line_of_mountinfo(line: str, mount: Mount, tmp_path: Path) -> None:
    (tmp_path / "self").mkdir()
    (tmp_path / "self/mountinfo").write_text(f"{line}\n")
    assert mounts(tmp_path) == [mount]
