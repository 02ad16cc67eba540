"""Renders the events of structlog and writes them to stderr.

Rendering one line takes several times longer if other code runs in between. So lines of RPCs, which can be
thousands per second, are rendered and written in batches.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress

from structlog.typing import EventDict

from jobworkerd.log_sink import LogSink

PER_CALL = "per call"
"""`structlog.get_logger(PER_CALL)` is for lines of RPCs, which can be written later. Other lines are written
immediately, because the process may end.
"""

_BATCH_SECONDS = 0.01


class LogLines:
    """Pending events in the order of their arrival."""

    def __init__(self, sink: LogSink, render: Callable[[EventDict], bytes]) -> None:
        self._sink = sink
        self._render = render
        self._events: deque[EventDict] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._flush_due = False

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let the loop write pending events, and lines that stderr does not accept immediately."""
        self._loop = loop
        self._sink.watch(loop)

    def finish(self) -> None:
        """Write pending events and lines within one second. The loop is not used any more."""
        self._loop = None
        self.flush()
        self._sink.finish()

    def add(self, event: EventDict) -> None:
        """Queue an event for the next batch. It must be called from the loop."""
        self._events.append(event)
        if self._loop is None:
            self.flush()
        elif not self._flush_due:
            self._flush_due = True
            self._loop.call_later(_BATCH_SECONDS, self.flush)

    def write(self, event: EventDict) -> None:
        """Write pending events and then this one. Any thread can call it."""
        self._events.append(event)
        self.flush()

    def flush(self) -> None:
        """Write pending events."""
        self._flush_due = False
        self._sink.write_lines(list(self._rendered()))

    def _rendered(self) -> Iterator[bytes]:
        with suppress(IndexError):  # another thread may take events at the same time
            while True:
                yield self._render(self._events.popleft()) + b"\n"


class EventLogger:
    """The logger that structlog calls with each processed event."""

    def __init__(self, lines: LogLines, *names: str) -> None:
        """`names` are the arguments of `structlog.get_logger`."""
        self.info = lines.add if PER_CALL in names else lines.write
        self.debug = self.warning = self.error = self.info
