"""The main loop of the keeper: starts supervisors, answers their requests, forwards signals."""

import os
import select
import signal
import socket
import sys
import time
from contextlib import suppress
from typing import Any

from jobworkerd.keeper import children, reexec, service_manager, wire
from jobworkerd.keeper.children import Discarded
from jobworkerd.keeper.connection import Connection
from jobworkerd.keeper.log import KeeperLog
from jobworkerd.keeper.operations import Operations
from jobworkerd.keeper.signals import Signals
from jobworkerd.keeper.table import Table

_SUPERVISOR = [sys.executable, "-P", "-m", "jobworkerd.supervisor"]
KEEPER_VARIABLE = "_JOBWORKERD_KEEPER"
"""Tells `jobworkerd serve` that it becomes a supervisor of this keeper."""

_FIRST_BACKOFF_SECONDS = 0.05
_LAST_BACKOFF_SECONDS = 5.0
_LEAVE_SECONDS = 15.0
"""A supervisor that does not hand over within this time is killed, which costs no job either."""

_PREPARE_SECONDS = 60.0


class Keeper:
    """The keeper. `state` is the state of an earlier version of the program, or of `jobworkerd serve`."""

    def __init__(self, state: dict[str, Any]) -> None:
        """`state` has the command line of the server (`serve`), the format of the log (`json`) and the
        descriptor of the settings (`settings`). Tests replace the command line of supervisors (`supervisor`).
        """
        self._serve: list[str] = state["serve"]
        self._supervisor: list[str] = state.get("supervisor", _SUPERVISOR)
        self._json: bool = state["json"]
        self._settings: int = state["settings"]
        os.set_inheritable(self._settings, False)  # noqa: FBT003 - positional-only
        self._log = KeeperLog(as_json=self._json)
        self._signature = reexec.signature()
        self._table = Table(state.get("table"))
        self._discarded = Discarded()
        self._operations = Operations(self._table, self._discarded, self._on_event)
        self._active: Connection | None = None
        self._next: Connection | None = None
        self._deadline = float("inf")
        self._started_once: bool = state.get("started", False)
        self._reload_again = False
        self._undelivered: list[int] = state.get("signals", [])
        self._backoff = 0.0
        self._start_at = 0.0
        self._exit_code: int | None = None
        self._signals = Signals()
        self._restore(state)

    def run(self) -> int:
        """Run until the server ends, and return its exit code."""
        while self._exit_code is None:
            self._advance()
            self._wait()
            for number in self._signals.received():
                self._on_signal(number)
            for each in self._connections():
                each.flush()
                self._serve_requests(each)
            self._discarded.reap()
            for each in self._connections():
                self._check_end(each)
        return self._exit_code

    def _connections(self) -> list[Connection]:
        return [each for each in (self._active, self._next) if each]

    def _wait(self) -> None:
        poll = select.poll()
        poll.register(self._signals.sock, select.POLLIN)
        for each in self._connections():
            poll.register(each.sock, select.POLLIN | (select.POLLOUT if each.blocked else 0))
        due = self._start_at if not self._connections() else self._deadline
        poll.poll(None if due == float("inf") else max(due - time.monotonic(), 0) * 1000)

    def _advance(self) -> None:
        """Start a supervisor if none runs, and activate one that is prepared."""
        now = time.monotonic()
        if not self._connections() and now >= self._start_at:
            self._start_next(list(self._supervisor), settings=self._settings)
        following = self._next
        if following and following.prepared and self._active is None:
            self._activate(following)
        elif following and following.prepared and self._active:
            self._hand_over(self._active)
        if self._connections() and now >= self._deadline:
            self._deadline = float("inf")
            late = self._active if self._active and self._active.leaving else self._next
            if late:
                os.kill(late.pid, signal.SIGKILL)

    def _hand_over(self, active: Connection) -> None:
        if active.ready and not active.leaving:
            active.leaving = True
            active.send([wire.NOTICE, "leave"])
            self._deadline = time.monotonic() + _LEAVE_SECONDS

    def _start_next(self, argv: list[str], settings: int | None = None) -> None:
        """Start a supervisor: with known settings, or from the command line of the server."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        environment = service_manager.environment()
        descriptors = [theirs.fileno()]
        if settings is None:
            environment[KEEPER_VARIABLE] = str(wire.FIRST_DESCRIPTOR)
        else:
            argv += ["--keeper-fd", str(wire.FIRST_DESCRIPTOR), "--config-fd", str(wire.FIRST_DESCRIPTOR + 1)]
            descriptors.append(settings)
        try:
            with theirs:
                pid = children.spawn(argv, descriptors, environment)
        except OSError as error:
            ours.close()
            self._log.write("error", "supervisor not started", reason=error.strerror)
            self._delay_start()
            return
        self._next = Connection(pid, ours)
        self._deadline = time.monotonic() + _PREPARE_SECONDS
        self._next.send([wire.NOTICE, "hello", wire.VERSION])

    def _activate(self, following: Connection) -> None:
        self._deadline = float("inf")
        self._active, self._next = following, None
        following.active = True
        if following.signature not in {"", self._signature}:
            self._reexecute()
        following.send([wire.NOTICE, "go"])
        if self._reload_again:
            self._reload_again = False
            self._reload()

    def _serve_requests(self, connection: Connection) -> None:
        while packet := connection.receive():
            self._operations.execute(connection, packet)

    def _on_event(self, connection: Connection, event: str, argument: str) -> None:
        match event:
            case "prepared":
                connection.prepared = True
                connection.signature = argument
            case "listening":
                connection.listening = True
                for number in self._undelivered:
                    os.kill(connection.pid, number)
                self._undelivered.clear()
            case "ready":
                connection.ready = self._started_once = True
                self._backoff = 0.0
                if connection.settings is not None:
                    os.close(self._settings)
                    self._settings, connection.settings = connection.settings, None
            case "end":
                connection.ended = True
            case "notify":
                service_manager.notify(argument)

    def _on_signal(self, number: int) -> None:
        if number == signal.SIGCHLD:
            return
        if number == signal.SIGHUP:
            self._reload()
        elif self._active and self._active.listening and not self._active.leaving:
            with suppress(ProcessLookupError):
                os.kill(self._active.pid, number)
        else:
            self._undelivered.append(number)

    def _reload(self) -> None:
        if self._next or self._active is None:
            self._reload_again = True
            return
        now_usec = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        service_manager.notify(f"RELOADING=1\nMONOTONIC_USEC={now_usec}")
        self._log.write("info", "reloading")
        self._start_next(list(self._serve))

    def _check_end(self, connection: Connection) -> None:
        """Handle the end of a supervisor. All of its requests have been executed."""
        try:
            pid, status = os.waitpid(connection.pid, os.WNOHANG)
        except ChildProcessError:
            pid, status = connection.pid, 1 << 8
        if not pid:
            return
        self._serve_requests(connection)
        connection.close()
        exit_code = os.waitstatus_to_exitcode(status)
        if connection is self._next:
            self._next = None
            self._preparation_failed(exit_code)
        else:
            self._active = None
            self._supervisor_ended(connection, exit_code)

    def _preparation_failed(self, exit_code: int) -> None:
        self._deadline = float("inf")
        if self._active:
            self._log.write("error", "reload failed", reason="see the log lines above", exit_code=exit_code)
            service_manager.notify("READY=1")
        elif self._started_once:
            self._log.write("error", "supervisor ended", exit_code=exit_code)
            self._delay_start()
        else:
            self._exit_code = exit_code if exit_code >= 0 else 1

    def _supervisor_ended(self, connection: Connection, exit_code: int) -> None:
        self._deadline = float("inf") if not self._next else self._deadline
        if connection.ended or not self._started_once:
            self._exit_code = exit_code if exit_code >= 0 else 1
            if self._next:
                os.kill(self._next.pid, signal.SIGKILL)
        elif not connection.leaving:
            self._log.write("error", "supervisor ended", exit_code=exit_code)
            if not connection.ready:
                self._delay_start()

    def _delay_start(self) -> None:
        self._backoff = min(max(2 * self._backoff, _FIRST_BACKOFF_SECONDS), _LAST_BACKOFF_SECONDS)
        self._start_at = time.monotonic() + self._backoff

    def _reexecute(self) -> None:
        """Continue as the version of this program that the active supervisor has loaded."""
        active = self._active
        assert active
        held = [each for entry in self._table.entries.values() for each in entry]
        settings = [] if active.settings is None else [active.settings]
        state = {
            "serve": self._serve,
            "supervisor": self._supervisor,
            "json": self._json,
            "settings": self._settings,
            "started": self._started_once,
            "signals": self._undelivered,
            "table": self._table.entries,
            "discarded": list(self._discarded.pending),
            "active": {"pid": active.pid, "socket": active.sock.fileno(), "settings": active.settings},
        }
        try:
            reexec.execute(state, [*held, *settings, self._settings, active.sock.fileno()])
        except OSError as error:
            self._log.write("error", "keeper not replaced", reason=error.strerror)

    def _restore(self, state: dict[str, Any]) -> None:
        """Take over what an earlier version of the program held, and activate its supervisor."""
        if not (active := state.get("active")):
            return
        self._log.write("info", "keeper replaced")
        for target in state["discarded"]:
            self._discarded.add(target)
        for each in (fd for entry in self._table.entries.values() for fd in entry):
            os.set_inheritable(each, False)  # noqa: FBT003 - positional-only
        sock = socket.socket(fileno=active["socket"])
        sock.set_inheritable(False)
        self._active = Connection(active["pid"], sock, active["settings"])
        self._active.prepared = self._active.active = True
        if active["settings"] is not None:
            os.set_inheritable(active["settings"], False)  # noqa: FBT003
        self._active.send([wire.NOTICE, "go"])
