"""Programs of a cluster that run until the end of a test."""

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

_RESTART_SECONDS = 1.0
_STOP_SECONDS = 20.0


class Service:
    """A program that starts again after it has ended, as systemd does with `Restart=always`."""

    def __init__(
        self, name: str, argv: Sequence[str | Path], log: Path, env: Mapping[str, str] | None = None
    ) -> None:
        """`log` is the file that gets the output of the program; later starts append to it."""
        self.name = name
        self.log = log
        self.starts = 0
        self._argv = list(argv)
        self._env = {**os.environ, **(env or {})}
        self._changed = threading.Condition()
        self._wanted = True
        self._closed = False
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the program."""
        with self._changed:
            self._launch()
        self._thread.start()

    @property
    def pid(self) -> int | None:
        """The PID of the program; None if it does not run now."""
        process = self._process
        return process.pid if process and process.poll() is None else None

    def kill(self) -> None:
        """Kill the program at once. It starts again after a second."""
        self._signal(signal.SIGKILL)

    def suspend(self) -> None:
        """Stop the execution of the program until `resume`, so that its connections stay open."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Continue the execution of the program."""
        self._signal(signal.SIGCONT)

    def hold(self) -> None:
        """Kill the program, and let it start only after `release`."""
        with self._changed:
            self._wanted = False
        self.kill()
        self._wait_until_ended(_STOP_SECONDS)

    def release(self) -> None:
        """Let a program start again that `hold` has killed."""
        with self._changed:
            self._wanted = True
            self._changed.notify_all()

    def stop(self) -> None:
        """Stop the program for good. Idempotent."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._signal(signal.SIGTERM)
        self._signal(signal.SIGCONT)
        if not self._wait_until_ended(_STOP_SECONDS):
            self.kill()
        if self._thread.ident:
            self._thread.join()

    def tail(self) -> str:
        """Return the end of the log, for a message of a failed test."""
        return self.log.read_text(errors="replace")[-3000:] if self.log.exists() else ""

    def _signal(self, number: signal.Signals) -> None:
        process = self._process
        if process:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)

    def _wait_until_ended(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self.pid is not None:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        return True

    def _launch(self) -> None:
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                self._argv, stdout=output, stderr=output, env=self._env, start_new_session=True
            )
        self.starts += 1

    def _run(self) -> None:
        """Wait for each end of the program, and start it again."""
        while True:
            assert self._process
            self._process.wait()
            with self._changed:
                self._changed.wait_for(lambda: self._closed, _RESTART_SECONDS)
                self._changed.wait_for(lambda: self._closed or self._wanted)
                if self._closed:
                    return
                self._launch()
