"""Files cannot be opened for writing if the kernel supports Landlock."""

import ctypes
import subprocess
import sys
from pathlib import Path

_CHILD = """
import ctypes, os, sys
from jobworkerd.api import landlock
directory = sys.argv[1]
kept = open(directory + "/open", "w")
ctypes.CDLL(None).prctl(38, *(ctypes.c_ulong(each) for each in (1, 0, 0, 0)))
landlock.forbid_writing()
kept.write("open files stay writable")
kept.close()
there = directory + "/there"
for attempt in (
    lambda: open(there, "r+"),
    lambda: open(directory + "/new", "w"),
    lambda: os.mkdir(directory + "/directory"),
    lambda: os.symlink("there", directory + "/link"),
    lambda: os.truncate(there, 3),
    lambda: os.rename(there, directory + "/elsewhere"),
    lambda: os.unlink(directory + "/elsewhere"),
    lambda: os.execv("/bin/echo", ["echo", "allowed"]),
):
    try:
        attempt()
    except (PermissionError, FileNotFoundError):  # a missing file cannot be renamed
        print("refused", flush=True)
    else:
        print("allowed", flush=True)
"""


def _has_landlock() -> bool:
    """Return whether the kernel reports a version of Landlock."""
    version = ctypes.CDLL(None).syscall(ctypes.c_long(444), None, ctypes.c_long(0), ctypes.c_long(1))
    return int(version) >= 3


def test_no_file_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("still")
    child = subprocess.run(
        [sys.executable, "-c", _CHILD, tmp_path], capture_output=True, text=True, check=False
    )
    assert child.returncode == 0, child.stderr
    assert child.stdout.split() == ["refused" if _has_landlock() else "allowed"] * 8
    assert (tmp_path / "open").read_text() == "open files stay writable"
