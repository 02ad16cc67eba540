"""A progress bar on stderr, if it is a terminal."""

import shutil
import sys
from time import monotonic

from jobworker_cli.output import printable
from jobworker_cli.render.units import format_size

__all__ = ["Progress"]

BAR_WIDTH = 20
# Seconds between two updates.
INTERVAL = 0.1

ERASE_LINE = "\x1b[K"


class Progress:
    """The line about one transfer, which disappears at its end. Without a total, it has no bar."""

    def __init__(self, label: str, total: int = 0) -> None:
        self._label = printable(label)
        self._total = total
        self._count = 0
        self._begin = self._drawn = monotonic()
        self._shown = False

    def add(self, count: int) -> None:
        """Count bytes, and draw the line from time to time."""
        self._count += count
        now = monotonic()
        if now - self._drawn >= INTERVAL and sys.stderr.isatty():
            self._drawn, self._shown = now, True
            line = self.line(now, shutil.get_terminal_size().columns - 1)
            # The cursor stays at the beginning, so that a message replaces the line.
            print(f"{ERASE_LINE}{line}\r", end="", file=sys.stderr, flush=True)

    def line(self, now: float, columns: int) -> str:
        """Return the line at some monotonic time, with a label that is cut to the width of the terminal."""
        numbers = self._numbers(now)
        return self._label[: max(columns - len(numbers), 0)] + numbers

    def _numbers(self, now: float) -> str:
        rate = format_size(round(self._count / max(now - self._begin, 0.001)))
        count = format_size(self._count)
        if not self._total:
            return f"  {count}  {rate}/s"
        share = min(self._count / self._total, 1)
        bar = ("#" * int(share * BAR_WIDTH)).ljust(BAR_WIDTH)
        return f"  [{bar}]  {share:.0%}  {count} of {format_size(self._total)}  {rate}/s"

    def close(self) -> None:
        """Erase the line."""
        if self._shown:
            print(ERASE_LINE, end="", file=sys.stderr, flush=True)
            self._shown = False
