"""Killing a job, now or after its grace period, and noticing that a kill has no effect."""

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path

EFFECT_SECONDS = 10.0
"""A killed process is gone at once, unless it waits in the kernel for something that does not come."""

_RETRY_SECONDS = 0.1
"""How long a kill that failed has until the next one."""


class Killing:
    """The kill of one job, as soon as it is due; the owner of its timers until `close`."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        kill: Callable[[], None],
        on_fault: Callable[[str, BaseException], None],
        on_no_effect: Callable[[], None],
    ) -> None:
        """`kill` may raise OSError; `on_no_effect` is called once, if `close` does not come in time."""
        self.due = False
        self._loop = loop
        self._kill = kill
        self._on_fault = on_fault
        self._on_no_effect = on_no_effect
        self._timer: asyncio.TimerHandle | None = None
        self._effect_timer: asyncio.TimerHandle | None = None

    def within(self, seconds: float) -> None:
        """Kills after so many seconds, or earlier if an earlier call says so."""
        if self._timer and self._timer.when() <= self._loop.time() + seconds:
            return
        if self._timer:
            self._timer.cancel()
        self._timer = self._loop.call_later(seconds, self.now)

    def now(self) -> None:
        """Kills."""
        self.due = True
        try:
            self._kill()
        except OSError as error:
            self._on_fault("kill", error)
            self._timer = self._loop.call_later(_RETRY_SECONDS, self.now)

    def expect_effect(self) -> None:
        """Waits from now on, if not yet, for `close` as the effect of a kill."""
        if self._effect_timer is None:
            self._effect_timer = self._loop.call_later(EFFECT_SECONDS, self._on_no_effect)

    def close(self) -> None:
        """Ends killing: no process is left."""
        for timer in (self._timer, self._effect_timer):
            if timer:
                timer.cancel()


def describe(pids: Callable[[], Iterable[int]], proc: Path = Path("/proc")) -> list[dict[str, str | int]]:
    """Returns the command, the state and the place in the kernel of processes that a kill does not end.

    An exhausted host may not tell: the list is empty then.
    """
    try:
        return [{"pid": pid, **_where(proc / str(pid))} for pid in pids()]
    except OSError:
        return []


def _where(process: Path) -> dict[str, str]:
    try:
        # proc(5): the command's name, in parentheses, may hold anything; then the state.
        head, _, tail = (process / "stat").read_text().rpartition(")")
        wchan = (process / "wchan").read_text()
    except OSError:
        return {}
    return {"command": head.partition("(")[2], "state": tail.split()[0], "waits_in": wchan}
