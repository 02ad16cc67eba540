"""A machine with systemd as process 1: user-mode-linux on a copy of an image that `make-image` creates.

A directory of the host is mounted in the machine. `agent` runs the commands that `Machine.run` puts there.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
KERNEL = "/usr/bin/linux.uml"
BOOT_SECONDS = 180
_POLL_SECONDS = 0.05


class MachineError(AssertionError):
    """Raised when a command in the machine fails, or when the machine does not answer."""


@dataclass(frozen=True)
class Output:
    """The result of a command."""

    code: int
    stdout: str
    stderr: str


class Machine:
    """A running machine; `shared` is the directory of the host that it sees as /host."""

    def __init__(self, image: Path, directory: Path) -> None:
        self.shared = directory / "shared"
        self.shared.mkdir()
        shutil.copy(HERE / "agent", self.shared)
        self._console = directory / "console"
        self._count = 0
        self._boot_id = ""
        parameters = [
            "mem=1500M",
            f"ubda={directory}/changes,{image}",
            # Without write barriers, because the machine never loses power.
            "root=/dev/ubda rw rootflags=nobarrier init=/lib/systemd/systemd panic=-1 cgroup_no_v1=all quiet",
            "con=null con0=null,fd:1",
            f"hostfs={self.shared}",
        ]
        argv = [KERNEL, *" ".join(parameters).split()]
        with self._console.open("wb") as console:
            self._process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_for_boot(self) -> None:
        """Wait until the machine has booted, for the first time or again.

        Raises:
            MachineError: the machine does not start.
        """
        file = self.shared / "boot"
        self._wait(lambda: file.exists() and file.read_text() != self._boot_id, BOOT_SECONDS, "a boot")
        self._boot_id = file.read_text()

    def run(self, command: str, *, check: bool = True, seconds: float = 240) -> Output:
        """Run a bash command as root and return its output.

        Raises:
            MachineError: the command fails, unless `check` is false, or takes longer than `seconds`.
        """
        name = self._send(command)
        code = self.shared / f"{name}.code"
        self._wait(code.exists, seconds, f"the end of: {command}")
        stdout, stderr = (
            (self.shared / f"{name}.{end}").read_text(errors="replace") for end in ("out", "err")
        )
        output = Output(int(code.read_text()), stdout, stderr)
        if check and output.code:
            raise MachineError(f"exit code {output.code} of: {command}\n{stdout}{stderr}")
        return output

    def output(self, command: str) -> str:
        """Return the standard output of a command that must succeed, without the last newline."""
        return self.run(command).stdout.rstrip("\n")

    def eventually(self, command: str, seconds: float = 120) -> str:
        """Repeat a command until it succeeds, and return its standard output.

        Raises:
            MachineError: it does not succeed in time.
        """
        deadline = time.monotonic() + seconds
        while (last := self.run(command, check=False)).code:
            if time.monotonic() > deadline:
                raise MachineError(
                    f"does not succeed within {seconds} s: {command}\n{last.stdout}{last.stderr}"
                )
            time.sleep(0.5)
        return last.stdout.rstrip("\n")

    def reboot(self) -> None:
        """Shut the machine down in order, start it again and wait until it has booted."""
        self._send("systemctl reboot")
        self.wait_for_boot()

    def close(self) -> None:
        """Kill the machine."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _send(self, command: str) -> str:
        self._count += 1
        name = f"{self._count:04}"
        new = self.shared / f"{name}.new"
        new.write_text(command + "\n")
        new.rename(self.shared / f"{name}.sh")
        return name

    def _wait(self, done: Callable[[], bool], seconds: float, what: str) -> None:
        deadline = time.monotonic() + seconds
        while not done():
            if self._process.poll() is not None:
                raise MachineError(f"the machine has ended; waiting for {what}\n{self._end_of_console()}")
            if time.monotonic() > deadline:
                raise MachineError(f"nothing for {seconds} s; waiting for {what}\n{self._end_of_console()}")
            time.sleep(_POLL_SECONDS)

    def _end_of_console(self) -> str:
        return "end of the console:\n" + self._console.read_text(errors="replace")[-3_000:]


@contextmanager
def running(directory: Path) -> Iterator[Machine]:
    """Run a machine until the end of the context."""
    made = subprocess.run([HERE / "make-image"], check=True, stdout=subprocess.PIPE, text=True)
    machine = Machine(Path(made.stdout.strip()), directory)
    try:
        machine.wait_for_boot()
        yield machine
    finally:
        machine.close()
