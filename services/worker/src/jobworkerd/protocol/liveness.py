"""Detects that the other end of a socket no longer answers, by counting ticks without messages."""

TICK_SECONDS = 1.0

_MAX_MISSED = 3
"""Consecutive ticks without a message. Including the tick of the last ping, the detection takes 4 s."""


class Liveness:
    """Counts ticks, not seconds, so that a stop of this process does not count against the other end."""

    def __init__(self) -> None:
        self._heard = True
        self._missed = 0

    @property
    def answers(self) -> bool:
        """Whether the other end answers: False after too many ticks without a message."""
        return self._missed < _MAX_MISSED

    def heard(self) -> bool:
        """Record a message from the other end. Return True if it did not answer before."""
        back = not self.answers
        self._heard, self._missed = True, 0
        return back

    def tick(self) -> bool:
        """Count a tick. Return True if a ping is due; an unanswered ping is not repeated."""
        due, self._heard = self._heard, False
        self._missed = 0 if due else self._missed + 1
        return due
