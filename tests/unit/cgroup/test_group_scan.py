"""The shared scans of /proc on a host without cgroups."""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from unittest.mock import Mock

import pytest

from jobworkerd.cgroup import group_scan
from jobworkerd.cgroup.group_scan import GroupScan, process_groups


@pytest.fixture
def leader() -> Iterator[int]:
    """A process that leads a group with one child."""
    argv = ["sh", "-c", "sleep 100 & echo; wait"]
    with subprocess.Popen(argv, process_group=0, stdout=subprocess.PIPE) as shell:
        assert shell.stdout
        shell.stdout.readline()
        yield shell.pid
        os.killpg(shell.pid, signal.SIGKILL)


@pytest.fixture
def scans(monkeypatch: pytest.MonkeyPatch) -> Mock:
    """The function that scans, which counts its calls."""
    counted = Mock(wraps=process_groups)
    monkeypatch.setattr(group_scan, "process_groups", counted)
    return counted


def test_a_group_has_its_processes_without_zombies(leader: int) -> None:
    assert len(process_groups()[leader]) == 2
    os.kill(leader, signal.SIGKILL)
    os.waitid(os.P_PID, leader, os.WEXITED | os.WNOWAIT)
    (child,) = process_groups()[leader]
    assert child != leader


def test_a_command_can_have_any_name() -> None:
    script = "import time; open('/proc/self/comm', 'w').write(') Z 1 (2'); print(flush=True); time.sleep(9)"
    argv = ["python3", "-c", script]
    with subprocess.Popen(argv, process_group=0, stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        assert process_groups()[process.pid] == [process.pid]
        process.kill()


async def test_jobs_that_wait_at_the_same_time_share_a_scan(leader: int, scans: Mock) -> None:
    scan = GroupScan()
    found = await asyncio.gather(*(scan.members(leader) for _ in range(100)), scan.members(1 << 30))
    assert [len(each) for each in found] == [2] * 100 + [0]
    assert scans.call_count == 1


async def test_a_scan_that_has_begun_is_too_old_for_a_new_caller(
    leader: int, scans: Mock, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan, begun, finishing = GroupScan(), asyncio.Event(), asyncio.Event()

    async def slow(step: Mock) -> object:
        groups = step()
        begun.set()
        await finishing.wait()
        return groups

    monkeypatch.setattr(group_scan, "retry_while_exhausted", slow)
    first = asyncio.create_task(scan.members(leader))
    await begun.wait()
    os.killpg(leader, signal.SIGKILL)
    while leader in process_groups():
        await asyncio.sleep(0.01)
    second = asyncio.create_task(scan.members(leader))
    await asyncio.sleep(0)
    finishing.set()
    assert await second == ()
    assert len(await first) == 2
    assert scans.call_count == 2


async def test_scans_take_at_most_half_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow() -> dict[int, list[int]]:
        time.sleep(0.02)
        return {}

    monkeypatch.setattr(group_scan, "process_groups", slow)
    scan, began = GroupScan(), time.monotonic()
    for _ in range(4):
        await scan.members(1)
    assert time.monotonic() - began >= 4 * 0.02 + 3 * 0.02


async def test_the_end_of_a_waiting_job_does_not_end_the_scan_of_others(leader: int) -> None:
    scan = GroupScan()
    first, second = (asyncio.create_task(scan.members(leader)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    assert len(await second) == 2
