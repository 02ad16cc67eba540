"""Check the guest: live cgroup v2, and faithful exit codes and outputs."""

import subprocess
from pathlib import Path

IN_GUEST = Path(__file__).parent / "in-guest"


def in_guest(*argv: str) -> "subprocess.CompletedProcess[bytes]":
    """Run a command in the guest."""
    return subprocess.run([IN_GUEST, "--timeout", "120", "--", *argv], capture_output=True, check=False)


def test_guest_has_the_controllers() -> None:
    done = in_guest("cat", "/sys/fs/cgroup/cgroup.controllers")
    assert {b"cpu", b"io", b"memory", b"pids"} <= set(done.stdout.split())


def test_exit_code_and_both_outputs_are_faithful() -> None:
    done = in_guest("sh", "-c", "printf out; printf err >&2; exit 7")
    assert (done.returncode, done.stdout, done.stderr) == (7, b"out", b"err")
