"""What runs in a spare process, from its birth to the job's execve.

It does the set-up that is the same for all jobs and waits for its order. Then it makes the process that
becomes the job: in the job's cgroup from birth, so that no instruction of the user's program, and none of
the kernel on its behalf, runs outside; and on the spare process's own memory, so that nothing is copied, or
charged to the job. Moving a process into the cgroup instead (a write to cgroup.procs) would wait for a
grace period of RCU, 8 to 12 ms, whenever no other had been moved shortly before.
"""

import contextlib
import fcntl
import functools
import os
import resource
import signal
import socket
import time
from typing import NamedTuple, NoReturn, Self

from jobworkerd.exhaustion import is_passing
from jobworkerd.spawn import clone, exec_protocol, isolation, private_mounts
from jobworkerd.spawn.exec_protocol import Order
from jobworkerd.spawn.isolation import Identity, Isolation
from jobworkerd.spawn.private_mounts import View

_UMASK = 0o022
_NEXT_TRY_SECONDS = 0.01
"""How long an exhausted host has until a report is sent again."""

_ORDERS_FD = 3
_FREE_FD = 4


class Setup(NamedTuple):
    """What all spare processes have in common.

    `open_files` are the jobs' soft and hard RLIMIT_NOFILE, `nice` is the supervisor's own.
    """

    open_files: tuple[int, int]
    nice: int
    isolation: Isolation

    def write(self) -> int:
        """Returns a descriptor of a file that `read` reads; the caller's to close."""
        values = tuple(self.isolation._replace(view=tuple(self.isolation.view)))  # type: ignore[arg-type]
        return exec_protocol.write((self.open_files, self.nice, values))

    @classmethod
    def read(cls, file: int) -> Self:
        """Returns the setup that a file has."""
        open_files, nice, isolation_values = exec_protocol.read(file)
        isolation = Isolation(*isolation_values)  # type: ignore[misc]
        return cls(open_files, nice, isolation._replace(view=View(*isolation.view)))  # type: ignore[arg-type]


def become_spare(fds: tuple[int, int, int, int], setup: Setup) -> NoReturn:
    """Turns a new process into the command that it is ordered to be; ends it with a report where that fails.

    The descriptors are stdin, stdout, stderr and a socket of packets, which execve(2) closes. The reports
    that it takes are `made PID`, of this process and of its init, so that they can be reaped; `ready PID INIT
    REFUSED…` once this process can take the order (see `isolation.Entered`; the refused are `PART=ERRNO`);
    then `started PID` once the process is there that becomes the job, which may say `refused REFUSED…`; and
    `failed STEP ERRNO`.
    """
    steps, orders = ["set_up"], fds[3]
    try:
        _tell(orders, b"made %d" % os.getpid())
        _set_up(fds, setup.open_files)
        orders = _ORDERS_FD
        init = _get_ready(setup)
        steps.append("order")
        if ordered := _await_order(init):
            _obey(*ordered, steps, setup.isolation.nice)
    except OSError as error:
        report_failure(orders, steps[-1], error)
    finally:
        os._exit(127)


def _tell(orders: int, report: bytes) -> None:
    """Sends a report; one that is lost would leave a process that the supervisor does not know.

    Raises:
        OSError: the supervisor does not listen any more.
    """
    while True:
        try:
            os.write(orders, report)
        except OSError as error:
            if not is_passing(error.errno):
                raise
            time.sleep(_NEXT_TRY_SECONDS)
        else:
            return


def _report(text: str, refused: dict[str, int]) -> bytes:
    return " ".join([text, *(f"{part}={number}" for part, number in refused.items())]).encode()


def report_failure(orders: int, step: str, error: OSError) -> None:
    """Says what failed, and why."""
    _tell(orders, f"failed {step} {error.errno}".encode())


def _set_up(fds: tuple[int, int, int, int], open_files: tuple[int, int]) -> None:
    _reset_signals()
    # A group, but no session of its own: the scheduler may give each session as much as any other (sched(7),
    # autogroup), and what this process does now nobody waits for.
    os.setpgid(0, 0)
    os.umask(_UMASK)
    _be_killed_before_the_server()
    _place_descriptors(fds)
    resource.setrlimit(resource.RLIMIT_NOFILE, open_files)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _get_ready(setup: Setup) -> int:
    """Does what does not depend on the order, and reports it; returns the init's PID, 0 without an init."""
    inits: list[int] = []

    def announce(init: int) -> None:
        inits.append(init)
        _tell(_ORDERS_FD, b"made %d" % init)

    try:
        entered = isolation.enter(setup.isolation, announce)
        _rehearse()
        os.setpriority(os.PRIO_PROCESS, 0, setup.nice)  # from here on a request may wait
        _tell(_ORDERS_FD, _report(f"ready {os.getpid()} {entered.init}", entered.refused))
    except OSError:
        # A supervisor that died before the init asked for a signal on that occasion cannot end the init.
        for init in inits:
            os.kill(init, signal.SIGKILL)
        raise
    return entered.init


def _rehearse() -> None:
    """Goes through what is to come, as far as it leaves no trace.

    What a new process writes to is copied from its parent's memory first, page by page: now, when nobody
    waits.
    """
    file = exec_protocol.write(Order(b"/", [b"/"], {b"PATH": b"/"}))
    what = Order(*exec_protocol.read(file))  # type: ignore[arg-type]
    with contextlib.suppress(OSError):
        clone.vfork_sibling(file)  # which is no cgroup
    with contextlib.suppress(OSError):
        _execute(what, ["rehearsal"])
    os.close(file)
    os.kill(os.getpid(), 0)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _await_order(init: int) -> tuple[Order, list[int]] | None:
    """Returns the order and the cgroup's descriptor; None if there comes none, and the init is killed then.

    A process that the supervisor was forking when it died holds the sockets a moment longer: so the report
    of this process may have been sent, but the init has asked for its signal too late.
    """
    ordered = None
    try:
        ordered = _read_order()
        return ordered
    finally:
        if init and not ordered:
            os.kill(init, signal.SIGKILL)


def _read_order() -> tuple[Order, list[int]] | None:
    with socket.socket(fileno=os.dup(_ORDERS_FD)) as orders:
        passed = _next_message(orders)
        if not passed:
            return None
        what = Order(*exec_protocol.read(*passed))  # type: ignore[arg-type]
        passed = _next_message(orders)
        return None if passed is None else (what, passed)


def _obey(what: Order, passed: list[int], steps: list[str], nice: int) -> NoReturn:
    """Executes an order; `steps` ends in the current step."""
    steps.append("cgroup")
    pid, joined = _make_process(*passed)
    _end_the_spare_process()
    # Before it leaves the process group: as long as it is in there it is reaped with the spare process.
    _tell(_ORDERS_FD, f"started {pid}".encode())
    os.nice(nice)
    os.setsid()
    if not joined:
        _join(*passed)
    steps.append("network")
    if refused := _leave_network(what.network):
        _tell(_ORDERS_FD, _report("refused", refused))
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    _execute(what, steps)


def _next_message(orders: socket.socket) -> list[int] | None:
    """Returns the descriptors that the next message has; None at the end."""
    message, descriptors, _, _ = socket.recv_fds(orders, 1, 1)
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)  # noqa: FBT003 - it takes no keyword
    return descriptors if message else None


def _leave_network(network: str) -> dict[str, int]:
    """Returns why the job has the host's network all the same, if it may."""
    try:
        if network != "host":
            isolation.leave_network()
    except OSError as error:
        if network == "none" or is_passing(error.errno):
            raise
        return {"network": error.errno or 0}
    return {}


def _execute(what: Order, steps: list[str]) -> NoReturn:
    steps.append("user")
    private_mounts.name_user(what.accounts)
    if what.user:
        isolation.become_user(Identity(*what.user), what.home)  # type: ignore[arg-type]
    steps.append("working_directory")
    os.chdir(what.directory)
    steps.append("exec")
    # Every descriptor but 0, 1 and 2 closes itself.
    os.execvpe(what.argv[0], what.argv, what.env)  # noqa: S606 - no shell is the point


def _make_process(cgroup: int | None = None) -> tuple[int, bool]:
    """Goes on in the process that becomes the job: returns its id there, and if it is where it belongs."""
    if cgroup is None:
        return clone.vfork_sibling(None), True
    try:
        return clone.vfork_sibling(cgroup), True
    except OSError:
        # Linux before 5.7 knows no CLONE_INTO_CGROUP; another reason is met again, and told, by whoever
        # joins.
        return clone.vfork_sibling(None), False


def _end_the_spare_process() -> None:
    """Kills the process whose memory this is, before it could run again.

    It may have no id here, in another PID namespace; but so far it shares the process group.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.kill(0, signal.SIGTERM)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _join(cgroup: int) -> None:
    procs = os.open("cgroup.procs", os.O_WRONLY | os.O_CLOEXEC, dir_fd=cgroup)
    os.write(procs, b"0")


def _be_killed_before_the_server() -> None:
    """Under pressure the job goes first: its oom_score_adj (proc(5)) is above the server's, and not below
    0.
    """
    with open("/proc/self/oom_score_adj", "r+b", buffering=0) as file:  # noqa: PTH123 - the child of a fork
        file.write(b"%d" % min(max(int(file.read()), 0) + 100, 1000))


@functools.cache
def signals_to_reset() -> tuple[int, ...]:
    """Returns the signals that are not as they are for any program; slow the first time, in Python."""
    numbers = (int(number) for number in signal.valid_signals())
    return tuple(number for number in numbers if signal.getsignal(number) not in (signal.SIG_DFL, None))


def _reset_signals() -> None:
    # execve(2) resets handlers by itself, but leaves ignored what Python ignores (SIGPIPE, SIGXFSZ).
    for number in signals_to_reset():
        if number != signal.SIGPIPE:  # until execve: a report to a supervisor that has died is an error here
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def _place_descriptors(fds: tuple[int, int, int, int]) -> None:
    """Leaves 0, 1 and 2 to the command, one that execve closes to the orders, and no other."""
    # Out of the way first: a source may have the number of another's place.
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 16) for fd in fds]
    for place, fd in enumerate(high):
        os.dup2(fd, place, inheritable=place < _ORDERS_FD)
    os.closerange(_FREE_FD, os.sysconf("SC_OPEN_MAX"))
