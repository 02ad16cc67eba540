"""The process that is forked ahead."""

import os
import signal
from collections.abc import Iterator

import pytest

from jobworkerd.model import JobSpec, Limits, LimitsPolicy
from jobworkerd.supervisor import process
from jobworkerd.supervisor.process import Child
from jobworkerd.supervisor.spare import SpareProcess

LIMITS = Limits(max_cpu=100, max_memory=64, max_io_bps=0, max_pids=0)


@pytest.fixture
def spare() -> Iterator[SpareProcess]:
    each = SpareProcess((256, 256))
    yield each
    each.close()


def spec(command: str, *args: str) -> JobSpec:
    return JobSpec(
        command=command,
        args=args,
        limits=LIMITS,
        limits_policy=LimitsPolicy.BEST_EFFORT,
        stop_signal=signal.SIGTERM,
        stop_grace_period=1.0,
        owner="test",
    )


def run(child: Child) -> tuple[int, bytes, bytes]:
    """Returns exit code, output and report of a child that ends by itself."""
    _, status = os.waitpid(child.pid, 0)
    os.set_blocking(child.stdout, True)
    output = b"".join(iter(lambda: os.read(child.stdout, 1 << 20), b""))
    report = os.read(child.orders, 256)
    for descriptor in (child.orders, child.stdout, child.stderr, child.pidfd):
        os.close(descriptor)
    return os.waitstatus_to_exitcode(status), output, report


def children() -> str:
    with open("/proc/thread-self/children") as file:  # noqa: PTH123
        return file.read()


def test_the_spare_process_becomes_the_job(spare: SpareProcess) -> None:
    spare.refill()
    waiting = children().split()[-1]
    child = spare.start(spec("sh", "-c", "echo $$; exit 3"), None)
    assert run(child) == (3, f"{waiting}\n".encode(), b"")


def test_without_a_spare_process_one_is_forked(spare: SpareProcess) -> None:
    for _ in range(2):
        assert run(spare.start(spec("echo", "x"), None)) == (0, b"x\n", b"")


def test_a_spare_process_that_was_killed_is_replaced(spare: SpareProcess) -> None:
    spare.refill()
    victim = int(children().split()[-1])
    os.kill(victim, signal.SIGKILL)
    os.waitid(os.P_PID, victim, os.WEXITED | os.WNOWAIT)
    assert run(spare.start(spec("echo", "x"), None)) == (0, b"x\n", b"")


def test_a_command_line_larger_than_a_socket_holds(spare: SpareProcess) -> None:
    spare.refill()
    args = [str(number) * 20_000 for number in range(10)] * 3
    exit_code, output, _ = run(spare.start(spec("sh", "-c", "echo $#", "sh", *args), None))
    assert (exit_code, output) == (0, b"30\n")


def test_the_command_joins_first_and_has_three_descriptors(spare: SpareProcess) -> None:
    spare.refill()
    joined, join = os.pipe()
    with os.fdopen(joined, "rb") as told:
        child = spare.start(spec("sh", "-c", "ls /proc/$$/fd; :"), join)
        os.close(join)
        exit_code, output, _ = run(child)
        assert told.read() == b"0"
    assert (exit_code, output.split()) == (0, [b"0", b"1", b"2"])


def test_what_cannot_be_executed_is_reported(spare: SpareProcess) -> None:
    spare.refill()
    wanted = spec("/nonexistent")
    exit_code, _, report = run(spare.start(wanted, None))
    assert exit_code == 127
    assert "ENOENT" in repr(process.exec_failure(wanted, report))


def test_close_ends_the_one_that_nobody_took() -> None:
    before, descriptors = children(), len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    each = SpareProcess((256, 256))
    each.refill()
    each.refill()
    assert len(children().split()) == len(before.split()) + 1
    each.close()
    assert (children(), len(os.listdir("/proc/self/fd"))) == (before, descriptors)  # noqa: PTH208
