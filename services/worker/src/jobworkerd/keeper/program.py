"""The main loop of the keeper: it starts supervisors, one after another, and serves the current one."""

import json
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from jobworkerd.keeper import wire
from jobworkerd.keeper.children import Children
from jobworkerd.keeper.connection import Connection
from jobworkerd.keeper.notify import notify
from jobworkerd.keeper.reload import SETTINGS_VARIABLE, SOCKET_VARIABLE, fingerprint
from jobworkerd.keeper.table import Entry, Table

_NO_VARIABLES: Mapping[str, str] = MappingProxyType({})

_FIRST_BACKOFF_SECONDS = 0.05
_LAST_BACKOFF_SECONDS = 5.0
_HAND_OVER_SECONDS = 10.0
"""A supervisor that does not hand over within this time is killed. Its jobs continue with the next one."""

_DIED = 1
"""Exit code of a server without a supervisor that can start it or end it in order."""

_IGNORED = frozenset({signal.SIGKILL, signal.SIGSTOP, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH})
_STOPS = frozenset({signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU})
_FAULTS = frozenset(
    {
        signal.SIGSEGV,
        signal.SIGBUS,
        signal.SIGFPE,
        signal.SIGILL,
        signal.SIGABRT,
        signal.SIGSYS,
        signal.SIGTRAP,
    }
)
_DEFAULT_ACTION = _IGNORED | _STOPS | _FAULTS
_SHUTDOWN = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGQUIT})


class Keeper:
    """The owner of the table, the children and the connections."""

    def __init__(self, config: int, arguments: Sequence[str]) -> None:
        """`config` is the descriptor of the settings. `arguments` are those of `jobworkerd`, for a reload."""
        self._config = config
        self._arguments = list(arguments)
        self._table = Table()
        self._children = Children()
        self._current: Connection | None = None
        self._next: Connection | None = None
        self._source = fingerprint()
        self._served = False
        self._shutdown_signals: list[int] = []
        self._backoff = 0.0
        self._start_at: float | None = 0.0
        self._kill_at: float | None = None
        self._reason = ""
        self._reload_wanted = False
        self._exit_code: int | None = None
        self._signals, self._wakeup = socket.socketpair()

    def run(self) -> int:
        """Serve until the server ends, and return the exit code."""
        self._handle_signals()
        self._reap()
        if self._reload_wanted:
            self._reload()
        while self._exit_code is None:
            self._start_if_due()
            self._wait()
        self._children.reap_discarded()
        return self._exit_code

    def _handle_signals(self) -> None:
        for each in (self._signals, self._wakeup):
            each.setblocking(False)  # noqa: FBT003 - it takes no keyword
        signal.set_wakeup_fd(self._wakeup.fileno(), warn_on_full_buffer=False)
        for number in signal.valid_signals() - _DEFAULT_ACTION:
            # A signal that was ignored before, such as SIGHUP by nohup(1), stays ignored.
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, _ignore)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])

    # The supervisors

    def _start_if_due(self) -> None:
        if self._start_at is not None and time.monotonic() >= self._start_at:
            self._start_at = None
            argv = [sys.executable, "-P", "-m", "jobworkerd.supervisor"]
            self._current = self._start([*argv, "--config-fd", "{0}", "--keeper-fd", "{1}"])
            if self._current is None:
                self._start_later()

    def _start_later(self) -> None:
        self._start_at = time.monotonic() + self._backoff
        self._backoff = min(max(2 * self._backoff, _FIRST_BACKOFF_SECONDS), _LAST_BACKOFF_SECONDS)

    def _start(self, argv: list[str], variables: Mapping[str, str] = _NO_VARIABLES) -> Connection | None:
        """Start a supervisor; return None if the host is exhausted.

        `{0}` stands for the descriptor of the settings, `{1}` for that of the socket, also in `variables`.
        """
        try:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        except OSError:
            return None
        with theirs:
            try:
                pid = self._children.spawn(argv, [self._config, theirs.fileno()], variables)
            except OSError:
                ours.close()
                return None
        return Connection(ours, pid, self._table, self._children, self._notice)

    def _notice(self, sender: Connection, message: list[object], descriptors: list[int]) -> None:
        match message:
            case ["prepared", wire.VERSION]:
                self._prepared(sender, descriptors)
            case ["prepared", _]:
                sender.send("table", wire.VERSION)  # it ends with an error
            case ["ready"]:
                self._ready(sender)
            case ["stopping"]:
                sender.stopping = True
                notify("STOPPING=1")

    def _prepared(self, sender: Connection, settings: list[int]) -> None:
        """Let a supervisor take over, after the current one has handed over."""
        for descriptor in settings:
            os.close(self._config)
            self._config = descriptor
        sender.prepared = True
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
        self._backoff = 0.0
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
        if self._next:
            if self._next.prepared:
                self._promote()
        elif code >= 0 and (connection.stopping or not self._served):
            self._exit_code = code
        elif not self._served or (self._shutdown_signals and not connection.ready):
            self._exit_code = _DIED
        else:
            self._reason = f"ended by signal {-code}" if code < 0 else f"ended with code {code}"
            self._start_later()

    # Reload

    def _reload(self) -> None:
        """Start a supervisor with fresh settings and the code on disk. It takes over when it is prepared."""
        self._reload_wanted = not (self._current and self._current.ready)
        if self._reload_wanted or self._next or self._shutdown_signals:
            return
        if fingerprint() != self._source:
            self._execute_again()
        notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1_000}")
        argv = [sys.executable, "-P", "-m", "jobworkerd", *self._arguments]
        argv = [each.replace("{", "{{").replace("}", "}}") for each in argv]
        self._next = self._start(argv, {SETTINGS_VARIABLE: "{0}", SOCKET_VARIABLE: "{1}"})
        if self._next is None:
            self._reload_failed()

    def _reload_failed(self) -> None:
        notify("READY=1")
        if self._current:
            self._current.send("note", "reload failed", "the new supervisor ended; see the log lines above")
        elif self._start_at is None:
            self._start_later()

    def _execute_again(self) -> None:
        """Replace this program by its new version, which keeps PID, children and descriptors."""
        current = self._current
        assert current
        current.flush()
        entries = {key: (each.descriptors, each.pids, each.statuses) for key, each in self._table}
        state = {
            "entries": entries,
            "discarded": [*self._children.discarded],
            "config": self._config,
            "current": (current.sock.fileno(), current.pid),
        }
        file = os.memfd_create("jobworkerd-keeper", 0)
        os.write(file, json.dumps(state).encode())
        kept = [descriptor for descriptors, *_ in entries.values() for descriptor in descriptors]
        for descriptor in (*kept, self._config, current.sock.fileno()):
            os.set_inheritable(descriptor, True)  # noqa: FBT003 - it takes no keyword
        # A signal must not arrive while the new program has no handler.
        signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals())
        argv = [sys.executable, "-P", "-m", "jobworkerd.keeper", "--table-fd", str(file), *self._arguments]
        os.execv(argv[0], argv)  # noqa: S606 - no shell is wanted

    @classmethod
    def continued(cls, file: int, arguments: Sequence[str]) -> "Keeper":
        """Return the keeper that an earlier version has described in a file, and reload the supervisor."""
        state = json.loads(os.pread(file, os.fstat(file).st_size, 0))
        os.close(file)
        keeper = cls(state["config"], arguments)
        keeper._children = Children(state["discarded"])
        for key, (descriptors, pids, statuses) in state["entries"].items():
            keeper._table.add(
                key, Entry(descriptors, pids, {int(pid): each for pid, each in statuses.items()})
            )
            for descriptor in descriptors:
                os.set_inheritable(descriptor, False)  # noqa: FBT003 - as above
        descriptor, pid = state["current"]
        for each in (descriptor, keeper._config):
            os.set_inheritable(each, False)  # noqa: FBT003 - as above
        connection = Connection(
            socket.socket(fileno=descriptor), pid, keeper._table, keeper._children, keeper._notice
        )
        connection.prepared = connection.ready = keeper._served = True
        keeper._current = connection
        keeper._start_at = None
        keeper._reload_wanted = True
        return keeper

    # Events

    def _wait(self) -> None:
        """Wait for an event and handle it."""
        poll = select.poll()
        poll.register(self._signals, select.POLLIN)
        for each in self._connections():
            poll.register(each.sock, select.POLLIN | (select.POLLOUT if each.has_waiting else 0))
        ready = {descriptor for descriptor, _ in poll.poll(self._timeout())}
        if self._signals.fileno() in ready:
            self._signals_seen(self._signals.recv(4_096))
        for each in self._connections():
            if each.sock.fileno() in ready:
                each.flush()
                each.receive()
        if self._kill_at is not None and time.monotonic() >= self._kill_at and self._current:
            self._kill_at = None
            os.kill(self._current.pid, signal.SIGKILL)

    def _connections(self) -> list[Connection]:
        return [each for each in (self._current, self._next) if each]

    def _timeout(self) -> float | None:
        """Return the time until the next timer in milliseconds."""
        due = [each for each in (self._start_at, self._kill_at) if each is not None]
        return max(0.0, min(due) - time.monotonic()) * 1_000 if due else None

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
            if self._start_at is not None:
                self._start_at = 0.0
        if self._current:
            self._current.send("signal", number)

    def _reap(self) -> None:
        self._children.reap_discarded()
        for connection in self._connections():
            pid, status = os.waitpid(connection.pid, os.WNOHANG)
            if pid:
                self._ended(connection, status)


def _ignore(*_: object) -> None:
    """Handle a signal: its number arrives at the wakeup descriptor."""
