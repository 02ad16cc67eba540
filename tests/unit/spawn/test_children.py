"""Kills children and reaps them, including a child that does not end."""

import os
import subprocess
from collections.abc import Callable

import pytest

from jobworkerd.spawn import children


def test_a_child_is_killed_and_reaped() -> None:
    process = subprocess.Popen(["sleep", "300"])
    children.end(process.pid)
    with pytest.raises(ChildProcessError):
        os.waitpid(process.pid, os.WNOHANG)
    process.wait()


def test_a_process_group_is_killed_and_reaped() -> None:
    process = subprocess.Popen(["sh", "-c", "sleep 300 & wait"], process_group=0)
    children.reap(process.pid)
    with pytest.raises(ChildProcessError):
        os.waitpid(-process.pid, os.WNOHANG)
    process.wait()


@pytest.mark.parametrize("end", [children.end, children.reap])
def test_the_wait_for_a_child_that_does_not_end_is_bounded(
    monkeypatch: pytest.MonkeyPatch, end: Callable[[int], None]
) -> None:
    with subprocess.Popen(["sleep", "300"], process_group=0) as process:
        with monkeypatch.context() as kernel:
            kernel.setattr(children, "_END_SECONDS", 0.01)
            kernel.setattr(os, "kill", lambda *_: None)
            kernel.setattr(os, "killpg", lambda *_: None)
            end(process.pid)
        assert process.poll() is None
        process.kill()
