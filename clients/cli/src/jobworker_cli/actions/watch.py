"""`jobworker list --watch`: show the newest jobs that fit on the terminal, and each change."""

import asyncio
import contextlib
import shutil
import time
from collections.abc import Callable
from datetime import timedelta

from jobworker_cli.output import Format, printable
from jobworker_cli.render.error_messages import fault_of
from jobworker_cli.render.screen import alternate_screen
from jobworker_cli.render.tables import jobs_table
from jobworker_client import (
    Client,
    JobSelection,
    JobWatch,
    JobWorkerError,
    Reconnecting,
    StreamEvent,
    WatchSynced,
)

__all__ = ["watch_jobs"]

# The status line and the header of the table.
HEADER_LINES = 2

# Seconds. The table has ages, which change without a message of the server.
LONGEST_PAUSE = 1.0


async def watch_jobs(
    client: Client, selection: JobSelection, limit: int | None, output: Format, interval: timedelta
) -> int:
    """Show the jobs that match until Ctrl-C; keep the last table while the server is away."""
    rows = max(1, shutil.get_terminal_size().lines - HEADER_LINES)
    count = rows if limit is None else min(limit, rows)
    with alternate_screen() as draw:
        view = View(draw, count, output, interval.total_seconds())
        while True:
            try:
                async with client.watch(max_final_jobs=count, on_event=view.note, **selection) as watch:
                    await view.follow(watch)
            except JobWorkerError as error:
                if not error.retryable:
                    raise
                view.report(error)
            await asyncio.sleep(interval.total_seconds())


class View:
    """The newest jobs of a watch on the screen, drawn at most once per interval."""

    def __init__(
        self, draw: Callable[[list[str]], None], count: int, output: Format, interval: float
    ) -> None:
        self._draw = draw
        self._count = count
        self._output = output
        self._interval = interval
        self._fault = ""
        self._table = jobs_table([])
        self._due = asyncio.Event()

    def note(self, event: StreamEvent) -> None:
        """Show that the connection is broken."""
        if isinstance(event, Reconnecting):
            self.report(event.error)

    def report(self, error: JobWorkerError) -> None:
        """Show why there are no changes."""
        self._fault = fault_of(error)
        self._redraw()

    async def follow(self, watch: JobWatch) -> None:
        """Show the jobs and their changes until the watch fails."""
        drawing = None
        try:
            async for event in watch:
                if isinstance(event, WatchSynced):
                    self._fault = ""
                    drawing = drawing or asyncio.create_task(self._draw_changes(watch))
                self._due.set()
        finally:
            if drawing:
                drawing.cancel()

    async def _draw_changes(self, watch: JobWatch) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LONGEST_PAUSE):
                    await self._due.wait()
            self._due.clear()
            newest = sorted(watch.jobs.values(), key=lambda job: job.id, reverse=True)[: self._count]
            self._table = jobs_table(newest, wide=self._output is Format.WIDE)
            self._redraw()
            await asyncio.sleep(self._interval)

    def _redraw(self) -> None:
        updated = f"Updated at {time.strftime('%H:%M:%S')}. Press Ctrl-C to exit."
        status = printable(f"{self._fault}; retrying") if self._fault else updated
        self._draw([status, *self._table.splitlines()])
