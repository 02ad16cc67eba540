"""A real keeper whose supervisors are the tests."""

import asyncio
import compileall
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

import jobworkerd
from jobworkerd.keeper.client import Handlers, HeldEntry, KeeperClient

TIMEOUT_SECONDS = 30
FAKE_SUPERVISOR = Path(__file__).with_name("fake_supervisor.py")
ARGUMENTS = ["serve", "--flag={x}"]


class FakeSupervisor:
    """A supervisor process that does nothing. The test uses its connection."""

    def __init__(self, control: socket.socket, pid: int, keeper: int, settings: int) -> None:
        self.pid = pid
        self.client = KeeperClient(socket.socket(fileno=keeper))
        self.settings = os.pread(settings, 1_000, 0)
        self.signals: list[int] = []
        self.notes: list[tuple[str, str]] = []
        self.told_to_leave = asyncio.Event()
        self.lost = asyncio.Event()
        self._control = control
        os.close(settings)

    async def take_over(self, settings: bytes = b"settings") -> dict[str, HeldEntry]:
        """Wait for the table and return it."""
        file = os.memfd_create("settings")
        os.write(file, settings)
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                held = await asyncio.to_thread(self.client.take_over, file)
        finally:
            os.close(file)
        self.client.attach(asyncio.get_running_loop())
        handlers = Handlers(
            self.signals.append,
            self.told_to_leave.set,
            lambda event, reason: self.notes.append((event, reason)),
            self.lost.set,
        )
        self.client.watch(handlers)
        return held

    async def serve(self, settings: bytes = b"settings") -> dict[str, HeldEntry]:
        """Take over and report that the server serves."""
        held = await self.take_over(settings)
        self.client.ready()
        await self.barrier()
        return held

    async def barrier(self) -> None:
        """Return when the keeper has handled all earlier messages."""
        self.client.release("nothing")
        await self.client._request("release", "nothing")

    def exit(self, code: int) -> None:
        """End the process with an exit code."""
        self._control.send(str(code).encode())

    def kill(self) -> None:
        """Kill the process."""
        os.kill(self.pid, signal.SIGKILL)

    def close(self) -> None:
        """Close the sockets."""
        self.client.close()
        self._control.close()


class KeeperProcess:
    """A running keeper with its own copy of the program."""

    def __init__(
        self,
        directory: Path,
        environment: dict[str, str],
        prepare_seconds: int,
        open_files: tuple[int, int] | None,
    ) -> None:
        self.program = directory / "jobworkerd"
        _copy_program(self.program)
        connection = self.program / "keeper" / "connection.py"
        default = "PREPARE_SECONDS = 60.0"
        text = connection.read_text()
        assert default in text
        connection.write_text(text.replace(default, f"PREPARE_SECONDS = {prepare_seconds}"))
        # A program that Python compiles at its start takes more memory.
        assert compileall.compile_dir(self.program, quiet=1)
        self._supervisors: list[FakeSupervisor] = []
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        address = directory / "supervisors"
        self._listener.bind(str(address))
        self._listener.listen(8)
        self._listener.setblocking(False)  # noqa: FBT003 - positional-only
        self.errors = directory / "stderr"
        settings = os.memfd_create("settings")
        os.write(settings, b"first settings")
        env = {**os.environ, **environment, "FAKE_ADDRESS": str(address), "PYTHONPATH": str(directory)}
        argv = [sys.executable, "-P", "-m", "jobworkerd.keeper", "--config-fd", str(settings), *ARGUMENTS]
        if open_files:
            # A `preexec_fn` would fork, and threads of gRPC can abort in the child.
            soft, hard = open_files
            argv = ["prlimit", f"--nofile={soft}:{hard}", *argv]
        with self.errors.open("wb") as stderr:
            self.process = subprocess.Popen(argv, pass_fds=[settings], stderr=stderr, env=env)
        os.close(settings)

    async def supervisor(self) -> FakeSupervisor:
        """Return the next supervisor that the keeper starts."""
        async with asyncio.timeout(TIMEOUT_SECONDS):
            control, _ = await asyncio.get_running_loop().sock_accept(self._listener)
        control.setblocking(True)  # noqa: FBT003 - positional-only
        content, descriptors, _, _ = socket.recv_fds(control, 16, 2)
        self._supervisors.append(FakeSupervisor(control, int(content), *descriptors))
        return self._supervisors[-1]

    async def serving(self) -> FakeSupervisor:
        """Return the next supervisor when it serves."""
        supervisor = await self.supervisor()
        await supervisor.serve()
        return supervisor

    def reload(self) -> None:
        """Request a reload."""
        self.process.send_signal(signal.SIGHUP)

    def children(self) -> set[int]:
        """Return the children of the keeper, including zombies."""
        return {each.pid for each in psutil.Process(self.process.pid).children()}

    def descriptor_count(self) -> int:
        """Return the number of descriptors of the keeper."""
        return psutil.Process(self.process.pid).num_fds()

    async def exit_code(self) -> int:
        """Return the exit code of the keeper when it has ended."""
        await eventually(lambda: self.process.poll() is not None)
        return self.process.returncode

    def close(self) -> None:
        """Kill the keeper with its children."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGSTOP)  # so that it starts no other supervisor
            for each in self.children():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(each, signal.SIGKILL)
        self.process.kill()
        self.process.wait()
        self._listener.close()
        for supervisor in self._supervisors:
            supervisor.close()


def _copy_program(target: Path) -> None:
    source = Path(jobworkerd.__file__).parent
    target.mkdir()
    shutil.copy2(source / "__init__.py", target)
    shutil.copytree(source / "keeper", target / "keeper", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("supervisor.py", "__main__.py"):
        shutil.copy(FAKE_SUPERVISOR, target / name)


@contextlib.contextmanager
def running(
    directory: Path,
    environment: dict[str, str] | None = None,
    *,
    prepare_seconds: int = 60,
    open_files: tuple[int, int] | None = None,
) -> Iterator[KeeperProcess]:
    """Run a keeper until the end of the context. `open_files` are its limits, soft and hard."""
    keeper = KeeperProcess(directory, environment or {}, prepare_seconds, open_files)
    try:
        yield keeper
    finally:
        keeper.close()


async def eventually(holds: Callable[[], bool]) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while not holds():
            await asyncio.sleep(0.005)
