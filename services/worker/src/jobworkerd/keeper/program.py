"""The main loop of the keeper: it starts supervisors, one after another, and serves the current one."""

import os
import select
import signal
import socket
import time
from collections.abc import Sequence

from jobworkerd.keeper import replacement, wire
from jobworkerd.keeper.children import Children
from jobworkerd.keeper.connection import Connection
from jobworkerd.keeper.kept_state import KeptState
from jobworkerd.keeper.notify import Watchdog, notify
from jobworkerd.keeper.replacement import Replacement
from jobworkerd.keeper.signals import Signals
from jobworkerd.keeper.starter import Starter
from jobworkerd.keeper.table import Table
from jobworkerd.keeper.timers import is_due, milliseconds_to

_HAND_OVER_SECONDS = 10.0
"""A supervisor that does not hand over within this time is killed. Its jobs continue with the next one."""

_DIED = 1
"""Exit code of a server without a supervisor that can start it or end it in order."""

_SHUTDOWN = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGQUIT})


class Keeper:
    """The owner of the table, the children and the connections."""

    def __init__(self, config: int, arguments: Sequence[str]) -> None:
        """`config` is the descriptor of the settings. `arguments` are those of `jobworkerd`, for a reload."""
        self._arguments = list(arguments)
        self._table = Table()
        self._children = Children()
        self._starter = Starter(config, self._children, self._connect)
        self._current: Connection | None = None
        self._next: Connection | None = None
        self._replacement = Replacement(self._children)
        self._served = False
        self._shutdown_signals: list[int] = []
        self._kill_at: float | None = None
        self._reason = ""
        self._reload_wanted = False
        self._exit_code: int | None = None
        self._signals = Signals()
        self._watchdog = Watchdog()

    def run(self) -> int:
        """Serve until the server ends, and return the exit code."""
        self._signals.handle()
        self._reap()
        if self._reload_wanted:
            self._reload()
        while self._exit_code is None:
            self._start_if_due()
            self._wait()
        self._children.reap_discarded()
        return self._exit_code

    # The supervisors

    def _start_if_due(self) -> None:
        if is_due(self._starter.due_at):
            self._starter.due_at = None
            self._current = self._starter.start()
            if self._current is None:
                self._starter.later()

    def _connect(self, sock: socket.socket, pid: int) -> Connection:
        return Connection(sock, pid, self._table, self._children, self._notice)

    def _notice(self, sender: Connection, message: list[object], descriptors: list[int]) -> None:
        if message == ["prepared", wire.VERSION]:
            self._prepared(sender, descriptors)
            return
        for descriptor in descriptors:
            os.close(descriptor)
        match message:
            case ["prepared", _]:
                sender.send("table", wire.VERSION)  # it ends with an error
            case ["ready"]:
                self._ready(sender)
            case ["stopping"]:
                sender.stopping = True
                notify("STOPPING=1")

    def _prepared(self, sender: Connection, settings: list[int]) -> None:
        """Let a supervisor take over, after the current one has handed over."""
        sender.prepared = True
        sender.deadline = None
        for descriptor in settings:
            sender.replace_settings(descriptor)
        if sender is self._current:
            self._give_table(sender)
        elif self._current:
            self._current.send("hand over")
            self._kill_at = time.monotonic() + _HAND_OVER_SECONDS
        else:
            self._promote()

    def _promote(self) -> None:
        """Let the prepared supervisor of a reload take over."""
        self._current, self._next = self._next, None
        assert self._current
        self._give_table(self._current)

    def _give_table(self, sender: Connection) -> None:
        sender.send_table()
        if self._reason:
            sender.send("note", "supervisor restarted", self._reason)
        for number in self._shutdown_signals:
            sender.send("signal", number)

    def _ready(self, sender: Connection) -> None:
        sender.ready = self._served = True
        self._starter.served(sender)
        self._reason = ""
        notify("READY=1")
        if self._reload_wanted:
            self._reload()

    def _ended(self, connection: Connection, status: int) -> None:
        """Handle the end of a supervisor. Another one continues unless the server ends."""
        # Requests that it sent before its end count.
        connection.receive()
        connection.close()
        if connection is self._next:
            self._next = None
            self._reload_failed()
            return
        self._current = None
        self._kill_at = None
        code = os.waitstatus_to_exitcode(status)
        if connection.stopping and code >= 0:
            self._exit_code = code
        elif self._next:
            if self._next.prepared:
                self._promote()
        elif code >= 0 and not self._served:
            self._exit_code = code
        elif not self._served or (self._shutdown_signals and not connection.ready):
            self._exit_code = _DIED
        else:
            self._reason = f"ended by signal {-code}" if code < 0 else f"ended with code {code}"
            self._starter.later()

    def _note(self, event: str, reason: str) -> None:
        """Let the supervisor log an event."""
        if self._current:
            self._current.send("note", event, reason)

    # Reload

    def _reload(self) -> None:
        """Start a supervisor with fresh settings and the code on disk. It takes over when it is prepared."""
        busy = self._next or self._replacement.check
        self._reload_wanted = bool(busy) or not (self._current and self._current.ready)
        if self._reload_wanted or self._shutdown_signals:
            return
        if self._replacement.needed() and self._replacement.start_check():
            return
        notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1_000}")
        self._next = self._starter.start_successor(self._arguments)
        if self._next is None:
            self._reload_failed()

    def _reload_failed(self) -> None:
        notify("READY=1")
        if self._current:
            reason = "the new supervisor ended; correct what the log lines above report, and reload again"
            self._note(wire.RELOAD_FAILED, reason)
        elif self._starter.due_at is None:
            self._starter.later()

    def _checked(self, status: int) -> None:
        """Replace this program if the installed version can be loaded, and reload."""
        self._replacement.checked()
        if status == 0 and self._replace():
            return
        if status:
            self._note("keeper not replaced", "the installed version of the keeper cannot be loaded")
        self._replacement.give_up()
        self._reload()

    def _replace(self) -> bool:
        """Replace this program; return True if it happens later."""
        current = self._current
        if not (current and current.ready) or current.has_waiting:
            self._reload_wanted = True
            return True
        with self._signals.blocked():
            # The signals that have arrived would be lost.
            if numbers := [each for each in self._signals.received() if each != signal.SIGCHLD]:
                self._reload_wanted = True
                self._signals_seen(numbers)
                return True
            try:
                replacement.execute(self._state(current), self._arguments)
            except OSError as error:
                self._note("keeper not replaced", error.strerror or "")
        return False

    def _state(self, current: Connection) -> KeptState:
        supervisor = (current.sock.fileno(), current.pid)
        return KeptState(
            self._table.describe(), [*self._children.discarded], self._starter.settings, supervisor
        )

    @classmethod
    def continued(cls, file: int, arguments: Sequence[str]) -> "Keeper":
        """Return the keeper that an earlier version has described in a file, and reload the supervisor."""
        state = KeptState.read(file)
        keeper = cls(state.settings, arguments)
        keeper._children.discarded.update(state.discarded)
        keeper._table.restore(state.entries)
        connection = keeper._connect(socket.socket(fileno=state.sock), state.pid)
        connection.prepared = connection.ready = keeper._served = True
        connection.deadline = None
        keeper._current = connection
        keeper._starter.due_at = None
        keeper._reload_wanted = True
        return keeper

    # Events

    def _wait(self) -> None:
        """Wait for an event and handle it."""
        poll = select.poll()
        poll.register(self._signals.sock, select.POLLIN)
        for each in self._connections():
            writes = each.has_waiting and each.retry_at is None
            poll.register(each.sock, select.POLLIN | (select.POLLOUT if writes else 0))
        ready = {descriptor for descriptor, _ in poll.poll(self._timeout())}
        if self._signals.sock.fileno() in ready:
            self._signals_seen(self._signals.received())
        for each in self._connections():
            if each.sock.fileno() in ready or is_due(each.retry_at):
                each.flush()
                each.receive()
        self._watchdog.report_if_due()
        self._kill_late()
        if self._reload_wanted and self._current and self._current.ready:
            self._reload()

    def _kill_late(self) -> None:
        """Kill a supervisor that does not hand over or prepare itself in time, and a check without end."""
        late = [each.pid for each in self._connections() if is_due(each.deadline)]
        if is_due(self._kill_at) and self._current:
            self._kill_at = None
            late.append(self._current.pid)
        if is_due(self._replacement.deadline) and self._replacement.check:
            late.append(self._replacement.check)
        for pid in late:
            os.kill(pid, signal.SIGKILL)
        for each in self._connections():
            if each.pid in late:
                each.deadline = None

    def _connections(self) -> list[Connection]:
        return [each for each in (self._current, self._next) if each]

    def _timeout(self) -> float | None:
        """Return the time until the next timer in milliseconds."""
        timers = [self._starter.due_at, self._kill_at, self._replacement.deadline, self._watchdog.due_at]
        for each in self._connections():
            timers += [each.deadline, each.retry_at]
        return milliseconds_to(timers)

    def _signals_seen(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            if number == signal.SIGCHLD:
                self._reap()
            elif number == signal.SIGHUP:
                self._reload()
            else:
                self._forward(number)

    def _forward(self, number: int) -> None:
        """Let the supervisor handle a signal. A later one continues a requested shutdown."""
        if number in _SHUTDOWN:
            self._shutdown_signals.append(number)
            if self._next:
                os.kill(self._next.pid, signal.SIGKILL)
            if self._starter.due_at is not None:
                self._starter.due_at = 0.0
        if self._current:
            self._current.send("signal", number)

    def _reap(self) -> None:
        self._children.reap_discarded()
        if self._replacement.check:
            pid, status = os.waitpid(self._replacement.check, os.WNOHANG)
            if pid:
                self._checked(status)
        for connection in self._connections():
            pid, status = os.waitpid(connection.pid, os.WNOHANG)
            if pid:
                self._ended(connection, status)
