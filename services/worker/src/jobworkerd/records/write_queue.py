"""Collects changes of the database and commits those of one loop iteration together."""

import asyncio
import errno
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from jobworkerd.records.database import disk_errors, transaction
from jobworkerd.records.writes import Change

_LAZY_SECONDS = 0.02
"""How long a change waits for others if no client needs it."""

_RETRY_SECONDS = 1.0
_BUSY_RETRY_SECONDS = 0.005
_BUSY_SECONDS = 1.0
"""How long another connection can lock the database, such as a checkpoint or a backup."""

_REJECTED = (
    sqlite3.IntegrityError,
    sqlite3.ProgrammingError,
    sqlite3.InterfaceError,
    ValueError,
    OverflowError,
)
"""Errors of one change, which a retry cannot solve."""


@dataclass(eq=False)
class _Entry:
    """A change that is not committed. After an error it is dropped, unless `keep` is true."""

    change: Change
    keep: bool = False
    waiting: list[asyncio.Future[None]] = field(default_factory=list)


class WriteQueue:
    """The changes that are not committed yet.

    A change is either required, and repeated until the disk accepts it, or it fails with the first error.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        on_commit: Callable[[], None],
        on_failure: Callable[[OSError | None], None],
        on_rejected: Callable[[Exception], None],
    ) -> None:
        """Call `on_failure` with an error when the disk fails, and with None when it works again."""
        self._loop = asyncio.get_running_loop()
        self._connection = connection
        self._on_commit = on_commit
        self._on_failure = on_failure
        self._on_rejected = on_rejected
        self._entries: dict[object, _Entry] = {}
        self._timer: asyncio.TimerHandle | asyncio.Handle | None = None
        self._due = float("inf")
        self._busy_until = 0.0
        self.error: OSError | None = None

    def add(self, change: Change, *, keep: bool, delay: float = 0.0) -> asyncio.Future[None]:
        """Add a change, which replaces an earlier one of the same job.

        The returned future ends with the commit. For a change that is not kept, it can raise an OSError. For
        a kept change it ends without an error after the first attempt, whatever the result.
        """
        future: asyncio.Future[None] = self._loop.create_future()
        entry = self._entries.setdefault(change.target, _Entry(change))
        entry.change = change.merged(entry.change)
        entry.keep |= keep
        entry.waiting.append(future)
        self._schedule(delay)
        return future

    def add_lazily(self, change: Change) -> None:
        """Add a change that no client needs soon. It is repeated until the disk accepts it."""
        self.add(change, keep=True, delay=_LAZY_SECONDS)

    def unsaved(self) -> Iterator[Change]:
        """Yield the changes that are not committed."""
        return (entry.change for entry in self._entries.values())

    def find(self, target: object) -> Change | None:
        """Return the change of a target that is not committed."""
        entry = self._entries.get(target)
        return entry.change if entry else None

    def flush(self) -> None:
        """Commit all changes now. A failure is reported by the futures and by `on_failure`."""
        self._cancel()
        if not self._entries:
            return
        rejected: dict[object, Exception] = {}
        try:
            with disk_errors(), transaction(self._connection):
                for target, entry in self._entries.items():
                    try:
                        entry.change.execute(self._connection)
                    except _REJECTED as error:
                        rejected[target] = error
        except (OSError, MemoryError) as error:
            self._failed(error if isinstance(error, OSError) else OSError(errno.ENOMEM, str(error)))
        else:
            self._committed(rejected)

    def close(self) -> None:
        """Commit all changes. Afterwards no timer is left."""
        self.flush()
        self._cancel()

    def _committed(self, rejected: dict[object, Exception]) -> None:
        entries, self._entries = self._entries, {}
        self._busy_until = 0.0
        recovered, self.error = self.error is not None, None
        for target, entry in entries.items():
            _end(entry, None if entry.keep else rejected.get(target))
        if recovered:
            self._on_failure(None)
        for error in rejected.values():
            self._on_rejected(error)
        self._on_commit()

    def _failed(self, error: OSError) -> None:
        if error.errno == errno.EAGAIN and self._busy():
            self._schedule(_BUSY_RETRY_SECONDS)
            return
        first, self.error = self.error is None, error
        for target, entry in list(self._entries.items()):
            if not entry.keep:
                del self._entries[target]
            _end(entry, None if entry.keep else error)
        if self._entries:
            self._schedule(_RETRY_SECONDS)
        if first:
            self._on_failure(error)

    def _busy(self) -> bool:
        """Return whether to wait for another connection, instead of failing."""
        now = time.monotonic()
        self._busy_until = self._busy_until or now + _BUSY_SECONDS
        return now < self._busy_until

    def _schedule(self, delay: float) -> None:
        due = self._loop.time() + delay
        if self._timer and self._due <= due:
            return
        self._cancel()
        self._due = due
        self._timer = self._loop.call_later(delay, self.flush) if delay else self._loop.call_soon(self.flush)

    def _cancel(self) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = None
        self._due = float("inf")


def _end(entry: _Entry, error: Exception | None) -> None:
    for future in entry.waiting:
        if future.done():
            continue
        if error:
            future.set_exception(error)
            future.exception()  # marks it as retrieved: nothing may wait for it any more
        else:
            future.set_result(None)
    entry.waiting.clear()
