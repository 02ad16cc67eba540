"""The supervisor's end of watches: numbers the changes of jobs, and sends them to API processes."""

import asyncio
import os
from collections.abc import Callable

from msgspec.structs import replace

from jobworkerd.errors import JobNotFound
from jobworkerd.model import Job, without_env
from jobworkerd.protocol import messages
from jobworkerd.protocol.change_log import Change, ChangeLog, RemovalReason

_CHANGES_PER_TURN = 50
"""Changes in one notice. In between, the supervisor does its other work."""

_RETRY_SECONDS = 0.05
"""Delay before a job is read again that is being deleted, or that the disk did not return."""

_EPOCH_BYTES = 7


class JobChanges:
    """Numbers each change of a job's record, and notifies the senders."""

    def __init__(self) -> None:
        self.epoch = int.from_bytes(os.urandom(_EPOCH_BYTES), "big")
        self.log = ChangeLog()
        self._listeners: set[Callable[[], None]] = set()

    def listen(self, listener: Callable[[], None]) -> None:
        """Call the listener after each change, until `unlisten`."""
        self._listeners.add(listener)

    def unlisten(self, listener: Callable[[], None]) -> None:
        """End the calls."""
        self._listeners.discard(listener)

    def changed(self, job_id: str) -> None:
        """Number the change of a job that exists. The growth of its log is not a change."""
        self._add(Change(job_id, self.log.revision + 1))

    def removed(self, job_id: str, reason: RemovalReason, job: Job | None = None) -> None:
        """Number the removal of a job, with its last state if it was final."""
        self._add(Change(job_id, self.log.revision + 1, job, reason))

    def _add(self, change: Change) -> None:
        self.log.add(change)
        for listener in self._listeners:
            listener()


class ChangeSender:
    """Sends the changes to one API process. As a cursor in the log, it sends newest states to a slow one."""

    def __init__(
        self,
        changes: JobChanges,
        read: Callable[[str], Job],
        send: Callable[[messages.Changes], None],
    ) -> None:
        """`read` returns the current state of a job."""
        self._changes = changes
        self._read = read
        self._send = send
        self._first = self._sent = 0
        self._started = False
        self._paused = False
        self._timer: asyncio.Handle | None = None

    def start(self) -> messages.Watching:
        """Send all changes from now on, preceded by those in the log, without their jobs."""
        self.stop()
        log = self._changes.log
        self._started, self._first, self._sent = True, log.revision, log.floor
        self._changes.listen(self._schedule)
        self._schedule()
        return messages.Watching(self._changes.epoch, log.floor, log.revision)

    def stop(self) -> None:
        """Send no more changes."""
        self._started = False
        self._changes.unlisten(self._schedule)
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def pause(self) -> None:
        """Hold changes back until `resume`."""
        self._paused = True

    def resume(self) -> None:
        """Send the changes that were held back."""
        self._paused = False
        self._schedule()

    def finish(self) -> None:
        """Send all changes now, and no more afterwards."""
        while self._started and self._send_some():
            pass
        self.stop()

    def _schedule(self) -> None:
        if self._timer is None and self._started and not self._paused:
            self._timer = asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._timer = None
        if self._started and not self._paused and self._send_some():
            self._schedule()

    def _send_some(self) -> bool:
        """Send the next changes, and return whether there were any."""
        log = self._changes.log
        after = max(self._sent, log.floor)
        pending = log.since(after, _CHANGES_PER_TURN)
        complete: list[Change] = []
        for change in pending:
            if (found := self._complete(change)) is None:
                self._timer = asyncio.get_running_loop().call_later(_RETRY_SECONDS, self._flush)
                break
            complete.append(found)
        if not complete:
            return False
        self._send(messages.Changes(after, tuple(complete)))
        self._sent = complete[-1].revision
        return True

    def _complete(self, change: Change) -> Change | None:
        """Return a change with its job; None if the job cannot be read now."""
        if change.removal or change.is_removed or change.revision <= self._first:
            return change
        try:
            return replace(change, job=without_env(self._read(change.job_id)))
        except (JobNotFound, OSError):
            return None
