"""Whether the other end of a socket answers, judged by what was heard between the ticks of a clock."""

TICK_SECONDS = 1.0

_MOST_MISSED = 3
"""Ticks in a row without a word. With the one that the last ping was sent at, it takes 4 s to notice."""


class Liveness:
    """Counts ticks, not seconds: a process that was itself stopped for a while blames nobody for it."""

    def __init__(self) -> None:
        self._heard = True
        self._missed = 0

    @property
    def answers(self) -> bool:
        """False once the other end has been silent for too long, although it was asked."""
        return self._missed < _MOST_MISSED

    def heard(self) -> bool:
        """Takes a sign of life; returns True if the other end did not answer before."""
        back = not self.answers
        self._heard, self._missed = True, 0
        return back

    def tick(self) -> bool:
        """Takes the next tick of the clock; returns True if a ping is due.

        One that is not answered yet is not repeated.
        """
        due, self._heard = self._heard, False
        self._missed = 0 if due else self._missed + 1
        return due
