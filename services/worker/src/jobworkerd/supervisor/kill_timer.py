"""SIGKILL for one job, now or after the grace period, and a report if it has no effect."""

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path

EFFECT_SECONDS = 10.0
"""Delay before a kill counts as without effect. A killed process ends in milliseconds unless it is in an
uninterruptible sleep.
"""

_RETRY_SECONDS = 0.1
"""Delay before a kill that failed is repeated."""


class KillTimer:
    """The owner of a job's kill timers until `close`."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        kill: Callable[[], None],
        on_fault: Callable[[str, BaseException], None],
        on_no_effect: Callable[[], None],
    ) -> None:
        """`kill` may raise OSError. `on_no_effect` is called once if `close` is not called in time."""
        self.due = False
        self._loop = loop
        self._kill = kill
        self._on_fault = on_fault
        self._on_no_effect = on_no_effect
        self._timer: asyncio.TimerHandle | None = None
        self._effect_timer: asyncio.TimerHandle | None = None

    def kill_at(self, when: float) -> float:
        """Kill the job at a time of the loop. Returns the earliest time of all calls."""
        if self._timer is None or self._timer.when() > when:
            if self._timer:
                self._timer.cancel()
            self._timer = self._loop.call_at(when, self._kill_now)
        return self._timer.when()

    def expect_effect(self) -> None:
        """Start the timer of `on_no_effect`, unless it runs already."""
        if self._effect_timer is None:
            self._effect_timer = self._loop.call_later(EFFECT_SECONDS, self._on_no_effect)

    def close(self) -> None:
        """Cancel all timers; no process is left."""
        for timer in (self._timer, self._effect_timer):
            if timer:
                timer.cancel()

    def _kill_now(self) -> None:
        self.due = True
        try:
            self._kill()
        except OSError as error:
            self._on_fault("kill", error)
            self._timer = self._loop.call_later(_RETRY_SECONDS, self._kill_now)


def describe(pids: Callable[[], Iterable[int]], proc: Path = Path("/proc")) -> list[dict[str, str | int]]:
    """Return the command, the state and the kernel function (wchan) of each process that survived a kill.

    The list is empty on an exhausted host.
    """
    try:
        return [{"pid": pid, **_describe_process(proc / str(pid))} for pid in pids()]
    except OSError:
        return []


def _describe_process(process: Path) -> dict[str, str]:
    try:
        # proc(5): the command's name, in parentheses, can contain any character; the state follows it.
        head, _, tail = (process / "stat").read_text().rpartition(")")
        wchan = (process / "wchan").read_text()
    except OSError:
        return {}
    return {"command": head.partition("(")[2], "state": tail.split()[0], "waits_in": wchan}
