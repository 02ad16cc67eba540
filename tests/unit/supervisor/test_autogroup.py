"""The server's share of the CPU on a host that divides it between sessions."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jobworkerd.supervisor import autogroup

RAISE = """
import sys
from pathlib import Path
from jobworkerd.supervisor.autogroup import raise_share
print(raise_share(Path(sys.argv[1])))
"""


def raised_by_a_session_leader(file: Path) -> str:
    argv = [sys.executable, "-c", RAISE, str(file)]
    return subprocess.run(argv, check=True, capture_output=True, text=True, start_new_session=True).stdout


def test_a_dedicated_session_gets_the_highest_weight(tmp_path: Path) -> None:
    file = tmp_path / "autogroup"
    file.touch()
    assert raised_by_a_session_leader(file) == "\n"
    assert file.read_text() == "-19"


def test_a_shared_session_is_not_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "autogroup"
    file.touch()
    monkeypatch.setattr("os.getsid", lambda _: os.getpid() + 1)  # the parent's PID can be 1
    assert "shares its session" in autogroup.raise_share(file)
    assert file.read_text() == ""


def test_a_kernel_without_autogroups_is_not_changed(tmp_path: Path) -> None:
    assert autogroup.raise_share(tmp_path / "autogroup") == ""


def test_the_message_for_a_refusal_says_what_to_do(tmp_path: Path) -> None:
    """A directory refuses a write like the kernel does without CAP_SYS_NICE."""
    assert "start the server as root" in raised_by_a_session_leader(tmp_path)
