"""Starts the API processes, restarts them when they end, and ends them by closing their sockets."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

from jobworkerd.config import Config, to_json
from jobworkerd.keeper import memory_file
from jobworkerd.protocol.server import ApiConnection
from jobworkerd.spawn.identity import Identity
from jobworkerd.spawn.readable import readable
from jobworkerd.supervisor.event_log import EventLog

_FIRST_BACKOFF_SECONDS = 0.05
_LAST_BACKOFF_SECONDS = 5.0

_KILLED = -signal.SIGKILL
"""The exit code of a process that was killed. It says nothing about the settings."""


class ApiFailed(RuntimeError):
    """Raised when an API process ends by itself before the server is ready. Its log says why."""


class ApiProcesses:
    """The owner of `config.api.process_count` API processes and their sockets."""

    def __init__(
        self,
        config: Config,
        user: Identity | None,
        jobs_dir: Path,
        log: EventLog,
        connect: Callable[[Callable[[], None]], ApiConnection],
    ) -> None:
        """`user` is the user of the processes; None for the user of this process. `jobs_dir` contains the
        logs.

        `connect` creates the supervisor's end of a connection. The connection calls its argument when the API
        process serves.
        """
        self._config = config
        self._user = user
        self._jobs_dir = jobs_dir
        self._log = log
        self._connect = connect
        self._connections: dict[int, ApiConnection] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._closing = False
        self._limits_problem = ""

    async def start(self) -> None:
        """Start the processes, and return when all of them serve.

        Raises:
            ApiFailed: a process ended by itself before it served.
        """
        ready = [asyncio.Event() for _ in range(self._config.api.process_count)]
        self._tasks = [asyncio.create_task(self._keep(*each)) for each in enumerate(ready)]
        all_ready = asyncio.create_task(_all(ready))
        await asyncio.wait([all_ready, *self._tasks], return_when=asyncio.FIRST_COMPLETED)
        if not all_ready.done():
            all_ready.cancel()
            raise ApiFailed("the API process did not start; see the log lines above")

    def job_changed(self, job_id: str) -> None:
        """Notify the followers of a job that its log or its status has changed."""
        for connection in self._connections.values():
            connection.job_changed(job_id)

    def limits_problem(self, reason: str) -> None:
        """Notify all present and future processes why limits are not enforced; empty if they are."""
        self._limits_problem = reason
        for connection in self._connections.values():
            connection.limits_problem(reason)

    def job_forgotten(self, job_id: str) -> None:
        """Notify all processes that a final job was removed."""
        for connection in self._connections.values():
            connection.job_forgotten(job_id)

    def scrape(self) -> "list[asyncio.Future[bytes] | None]":
        """Request the metrics of each process, by its number. None stands for one that is not connected."""
        connections = map(self._connections.get, range(len(self._tasks)))
        return [each.scrape() if each else None for each in connections]

    def drain(self) -> None:
        """Notify all processes that the server shuts down."""
        self._closing = True
        for connection in self._connections.values():
            connection.drain()

    async def close(self, within: float) -> None:
        """Close the sockets, and return when all processes have ended. Kill them after `within`
        seconds.
        """
        self._closing = True
        for connection in self._connections.values():
            connection.close()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=within)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)

    async def _keep(self, number: int, ready: asyncio.Event) -> None:
        """Run one API process at a time, with a backoff between processes that never served. Return if the
        server ends, or if the first process ends by itself before it serves.
        """
        backoff = _FIRST_BACKOFF_SECONDS
        while True:
            serving = asyncio.Event()

            def on_ready(serving: asyncio.Event = serving) -> None:
                serving.set()
                ready.set()

            try:
                exit_code = await self._run(number, on_ready)
            except OSError as error:
                exit_code = None
                self._log.error("api process not started", reason=str(error))
            if self._closing or not (ready.is_set() or exit_code == _KILLED):
                return
            if exit_code is not None:
                self._log.error("api process ended", exit_code=exit_code)
            if serving.is_set():
                backoff = _FIRST_BACKOFF_SECONDS
            else:
                await asyncio.sleep(backoff)
                backoff = min(2 * backoff, _LAST_BACKOFF_SECONDS)

    async def _run(self, number: int, on_ready: Callable[[], None]) -> int:
        """Run one API process, and return its exit code; negative for a signal.

        Raises:
            OSError: the process cannot be started. Nothing is left behind.
        """
        connection = self._connect(on_ready)
        self._connections[number] = connection
        try:
            child, pidfd = await self._start_one(connection)
            self._log.debug("api process started", pid=child.pid)
            if self._limits_problem:
                connection.limits_problem(self._limits_problem)
            return await _exit_code(child, pidfd)
        finally:
            del self._connections[number]
            connection.close()

    async def _start_one(self, connection: ApiConnection) -> "tuple[subprocess.Popen[bytes], int]":
        """Return a new, connected process and its pidfd."""
        with ExitStack() as on_failure:
            ours, theirs = socket.socketpair()
            on_failure.callback(ours.close)
            with theirs:
                child = self._spawn(theirs)
            on_failure.callback(child.wait)
            on_failure.callback(child.kill)
            pidfd = os.pidfd_open(child.pid)
            on_failure.callback(os.close, pidfd)
            ours.setblocking(False)  # noqa: FBT003 - positional-only
            await asyncio.get_running_loop().create_connection(lambda: connection, sock=ours)
            on_failure.pop_all()
        return child, pidfd

    def _spawn(self, sock: socket.socket) -> "subprocess.Popen[bytes]":
        """Start a process with a socket. The process changes its user after it has loaded its modules."""
        with ExitStack() as stack:
            config = memory_file.create("jobworkerd-config", to_json(self._config))
            stack.callback(os.close, config)
            # The user of the process may not open the directories above.
            jobs = os.open(self._jobs_dir, os.O_PATH | os.O_DIRECTORY)
            stack.callback(os.close, jobs)
            argv = [sys.executable, "-P", "-m", "jobworkerd.api"]
            argv += [f"--config-fd={config}", f"--socket-fd={sock.fileno()}", f"--jobs-fd={jobs}"]
            if self._user:
                argv += [f"--uid={self._user.uid}", f"--gid={self._user.gid}"]
            return subprocess.Popen(  # noqa: S603 - a module of this package
                argv, pass_fds=(config, sock.fileno(), jobs), stdin=subprocess.DEVNULL
            )


async def _all(events: list[asyncio.Event]) -> None:
    for event in events:
        await event.wait()


async def _exit_code(child: "subprocess.Popen[bytes]", pidfd: int) -> int:
    """Wait for the end of the child, and kill it if this task is cancelled. Close the pidfd."""
    try:
        await readable(pidfd)
    finally:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        os.close(pidfd)
        child.wait()
    return child.returncode
