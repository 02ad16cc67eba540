"""From structlog's events to lines on stderr.

Rendering a line costs several times as much when other code has run since the last one, so the lines of
RPCs, thousands per second, are rendered and written together.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress

from structlog.typing import EventDict

from jobworkerd.log_sink import LogSink

PER_CALL = "per call"
"""`structlog.get_logger(PER_CALL)` is for the lines of RPCs, which may come a moment later. Other lines are
written at once: the next event may be the end of the process.
"""

_GATHER_SECONDS = 0.01


class LogLines:
    """The events that are not rendered yet, in the order in which they came."""

    def __init__(self, sink: LogSink, render: Callable[[EventDict], bytes]) -> None:
        self._sink = sink
        self._render = render
        self._events: deque[EventDict] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._flush_due = False

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Has the loop write what waits: events, and lines that stderr does not take at once."""
        self._loop = loop
        self._sink.watch(loop)

    def finish(self) -> None:
        """Writes what still waits, within a second. The loop is no longer used."""
        self._loop = None
        self.flush()
        self._sink.finish()

    def add(self, event: EventDict) -> None:
        """Takes an event that is written a moment later; to be called from the loop."""
        self._events.append(event)
        if self._loop is None:
            self.flush()
        elif not self._flush_due:
            self._flush_due = True
            self._loop.call_later(_GATHER_SECONDS, self.flush)

    def write(self, event: EventDict) -> None:
        """Writes an event at once, after those that wait; any thread may call it."""
        self._events.append(event)
        self.flush()

    def flush(self) -> None:
        """Writes the events that wait."""
        self._flush_due = False
        self._sink.write_lines(list(self._rendered()))

    def _rendered(self) -> Iterator[bytes]:
        with suppress(IndexError):  # another thread may take events, too
            while True:
                yield self._render(self._events.popleft()) + b"\n"


class EventLogger:
    """What structlog calls with each event that its processors leave."""

    def __init__(self, lines: LogLines, *names: str) -> None:
        """`names` are the arguments of `structlog.get_logger`."""
        self.info = lines.add if PER_CALL in names else lines.write
        self.debug = self.warning = self.error = self.info
