"""Where the file system puts the logs."""

import subprocess
from pathlib import Path

from jobworkerd.logs.placement import spread


def test_ext4_spreads_the_directories_below(tmp_path: Path) -> None:
    spread(tmp_path)
    kind = subprocess.run(["stat", "-f", "-c", "%T", tmp_path], capture_output=True, text=True, check=True)
    listed = subprocess.run(["lsattr", "-d", tmp_path], capture_output=True, text=True, check=False)
    assert ("T" in listed.stdout.split(" ")[0]) == (kind.stdout.strip() == "ext2/ext3")
    (tmp_path / "below").mkdir()


def test_another_file_system_refuses_the_hint_and_stays_as_it_is() -> None:
    spread(Path("/proc/self"))
    spread(Path("/nonexistent"))
