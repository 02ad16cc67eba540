"""A real keeper whose supervisors are the tests."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

from jobworkerd.keeper import reexec, wire
from jobworkerd.keeper.client import KeeperClient

TIMEOUT_SECONDS = 30
FAKE_SUPERVISOR = Path(__file__).with_name("fake_supervisor.py")


class FakeSupervisor:
    """A supervisor process that does nothing. The test uses its connection."""

    def __init__(self, control: socket.socket, pid: int, connection: int) -> None:
        self.pid = pid
        self._control = control
        self.sock = socket.socket(fileno=connection)
        self.left = asyncio.Event()
        self._client: KeeperClient | None = None

    def client(self) -> KeeperClient:
        """Return a client that uses the connection."""
        self._client = self._client or KeeperClient(self.sock, self.left.set, lambda: None)
        return self._client

    async def started(self, settings: bytes = b"settings", signature: str = "") -> KeeperClient:
        """Return a client to which the table belongs."""
        client = self.client()
        await client.connect()
        await client.take_over(settings, signature)
        return client

    def exit(self, code: int) -> None:
        """End the process with an exit code."""
        self._control.send(str(code).encode())

    def close(self) -> None:
        """Close the sockets."""
        if self._client:
            self._client.close()
        self.sock.close()
        self._control.close()

    def kill(self) -> None:
        """Kill the process."""
        os.kill(self.pid, signal.SIGKILL)


class KeeperProcess:
    """A running keeper."""

    def __init__(self, directory: Path, **limits: Any) -> None:
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._supervisors: list[FakeSupervisor] = []
        address = directory / "supervisors"
        self._listener.bind(str(address))
        self._listener.listen(8)
        self._listener.setblocking(False)  # noqa: FBT003 - positional-only
        self.log = directory / "keeper.log"
        argv = [sys.executable, "-P", str(FAKE_SUPERVISOR), str(address)]
        settings = os.memfd_create("settings")
        state = {"serve": argv, "supervisor": argv, "json": True, "settings": settings}
        file = os.memfd_create("state")
        os.write(file, json.dumps(state).encode())
        with self.log.open("wb") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", reexec.MODULE, str(file)],
                pass_fds=(file, settings),
                stderr=stderr,
                **limits,
            )
        os.close(file)
        os.close(settings)

    async def supervisor(self) -> FakeSupervisor:
        """Return the next supervisor that the keeper starts."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(TIMEOUT_SECONDS):
            control, _ = await loop.sock_accept(self._listener)
        control.setblocking(True)  # noqa: FBT003 - positional-only
        content, descriptors, _, _ = socket.recv_fds(control, 16, 1)
        self._supervisors.append(FakeSupervisor(control, int(content), descriptors[0]))
        return self._supervisors[-1]

    def children(self) -> list[int]:
        """Return the children of the keeper, including zombies."""
        return [each.pid for each in psutil.Process(self.process.pid).children()]

    def descriptor_count(self) -> int:
        """Return the number of descriptors of the keeper."""
        return psutil.Process(self.process.pid).num_fds()

    def events(self) -> list[str]:
        """Return the names of the events that the keeper has logged."""
        return [json.loads(line)["event"] for line in self.log.read_text().splitlines()]

    async def exit_code(self) -> int:
        """Return the exit code of the keeper when it has ended."""
        await eventually(lambda: self.process.poll() is not None)
        return self.process.returncode

    def close(self) -> None:
        """Kill the keeper."""
        for each in self.children() if self.process.poll() is None else []:
            with contextlib.suppress(ProcessLookupError):
                os.kill(each, signal.SIGKILL)
        self.process.kill()
        self.process.wait()
        self._listener.close()
        for supervisor in self._supervisors:
            supervisor.close()


@contextlib.contextmanager
def running(directory: Path, **limits: Any) -> Iterator[KeeperProcess]:
    """Run a keeper until the end of the context."""
    keeper = KeeperProcess(directory, **limits)
    try:
        yield keeper
    finally:
        keeper.close()


async def eventually(holds: Callable[[], bool]) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while not holds():
            await asyncio.sleep(0.005)


def raw_request(supervisor: FakeSupervisor, *words: object) -> list[str]:
    """Send a request without a client, and return the words of the answer."""
    supervisor.sock.setblocking(True)  # noqa: FBT003 - positional-only
    wire.send(supervisor.sock, words)
    while packet := wire.receive(supervisor.sock):
        if packet.words[0] != wire.NOTICE:
            return packet.words
    raise EOFError
