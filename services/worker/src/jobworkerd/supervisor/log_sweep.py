"""Checks all logs in the background after the start, and removes those that no record owns.

A supervisor that died can leave the log of a job that has no record: the job never ran, or its record was
removed before its files.
"""

import asyncio
import os
from collections.abc import Callable, Generator
from itertools import islice
from pathlib import Path

from jobworkerd.job_id import is_job_id
from jobworkerd.logs.store import LogStore

_ENTRIES_PER_STEP = 16
_PAUSE_SECONDS = 0.005
"""Between two steps the supervisor reads the output of jobs and answers requests."""


class LogSweep:
    """The background task; it ends when it has checked all directories, or on an error."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        jobs_dir: Path,
        logs: LogStore,
        owned: Callable[[str], bool],
        on_error: Callable[[OSError], None],
    ) -> None:
        """Schedule the first step. `owned` returns whether a job has a record; it can raise an OSError."""
        self._loop = loop
        self._logs = logs
        self._owned = owned
        self._on_error = on_error
        self._names = _job_ids(jobs_dir)
        self._timer = loop.call_later(_PAUSE_SECONDS, self._step)

    def close(self) -> None:
        """Stop the task."""
        self._timer.cancel()
        self._names.close()

    def _step(self) -> None:
        try:
            finished = self._sweep_some()
        except OSError as error:
            self._on_error(error)
            finished = True
        if finished:
            self.close()
        else:
            self._timer = self._loop.call_later(_PAUSE_SECONDS, self._step)

    def _sweep_some(self) -> bool:
        """Check the next directories, or reclaim space. Return True if nothing is left to do."""
        if self._logs.reclaim():
            return False
        names = list(islice(self._names, _ENTRIES_PER_STEP))
        for name in names:
            if not self._logs.is_live(name) and not self._owned(name):
                self._logs.remove_files(name)
        return not names


def _job_ids(jobs_dir: Path) -> Generator[str, None, None]:
    with os.scandir(jobs_dir) as entries:
        for entry in entries:
            if is_job_id(entry.name):
                yield entry.name
