"""The hint that makes ext4 spread logs over the disk."""

import subprocess
from pathlib import Path

from jobworkerd.logs.placement import spread


def test_ext4_spreads_the_directories_below(tmp_path: Path) -> None:
    spread(tmp_path)
    kind = subprocess.run(["stat", "-f", "-c", "%T", tmp_path], capture_output=True, text=True, check=True)
    listed = subprocess.run(["lsattr", "-d", tmp_path], capture_output=True, text=True, check=False)
    assert ("T" in listed.stdout.split(" ")[0]) == (kind.stdout.strip() == "ext2/ext3")
    (tmp_path / "below").mkdir()


def test_other_file_systems_refuse_the_hint() -> None:
    spread(Path("/proc/self"))
    spread(Path("/nonexistent"))
