"""Runs `tools/demo-dashboard` as a user does, who ends it with Ctrl-C."""

import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil

from dashboard import Dashboard, printed_address
from live import still_alive

ROOT = Path(__file__).parents[2]
JOBS = 10


@contextlib.contextmanager
def demo() -> Iterator[Dashboard]:
    """Start the demo, and interrupt it at the end; it leaves no process and no file."""
    with tempfile.TemporaryDirectory() as directory:
        env = {**os.environ, "TMPDIR": directory}
        argv = [ROOT / "tools/demo-dashboard"]
        with subprocess.Popen(
            argv, stdout=subprocess.PIPE, text=True, env=env, start_new_session=True
        ) as process:
            started = psutil.Process(process.pid)
            try:
                login, origin = printed_address(process)
                yield Dashboard(origin, login, started)
            finally:
                processes = started.children(recursive=True)
                # A terminal sends the signal to all processes of the group.
                os.killpg(process.pid, signal.SIGINT)
                process.communicate(timeout=60)
        assert not still_alive(processes)
        assert list(Path(directory).iterdir()) == []
