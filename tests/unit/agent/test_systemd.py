"""Notifications to systemd."""

import asyncio
import os
import socket
from pathlib import Path

import pytest

from jobworker_agent.systemd import notify, report_alive, watchdog_interval


@pytest.mark.parametrize(
    ("usec", "pid", "interval"),
    [
        ("30000000", None, 15.0),
        ("30000000", "own", 15.0),
        ("30000000", "1", None),
        ("0", None, None),
        ("", None, None),
        ("x", None, None),
    ],
)
def test_the_interval_is_half_of_that_of_the_watchdog(
    monkeypatch: pytest.MonkeyPatch, usec: str, pid: str | None, interval: float | None
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", usec)
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    if pid:
        monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()) if pid == "own" else pid)
    assert watchdog_interval() == interval


async def test_the_watchdog_is_told_while_the_loop_works(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = str(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", path)
    monkeypatch.setenv("WATCHDOG_USEC", "2000")
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(path)
        receiver.settimeout(0)
        task = asyncio.ensure_future(report_alive())
        loop = asyncio.get_running_loop()
        assert [await loop.sock_recv(receiver, 100) for _ in range(2)] == [b"WATCHDOG=1"] * 2
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def test_a_missing_service_manager_is_ignored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "missing"))
    notify("READY=1")
