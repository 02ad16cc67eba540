"""The changes of all jobs, coalesced by job. A watcher is a cursor in it, as a reader is in a log of output.

The supervisor and each API process have one. It is an ordered map from a job to its newest change, with a
bounded number of jobs. A slow watcher finds the newest state of each job, without a separate queue.
"""

import enum
from bisect import bisect_right
from collections import OrderedDict
from itertools import islice
from operator import itemgetter

import msgspec
from msgspec.structs import replace

from jobworkerd.job_memory import memory_of
from jobworkerd.model import Job

_MAX_CHANGES = 10_000
"""Changes in memory, about 3 MB."""

_MAX_JOB_BYTES = 4 * 1024 * 1024

_Key = tuple[str, bool]
"""The id of a job, and whether the change is its removal."""


class RemovalReason(enum.Enum):
    """The reason why a job does not exist any more."""

    DELETED = "deleted"
    FORGOTTEN = "forgotten"
    NOT_STARTED = "not_started"


class Change(msgspec.Struct, frozen=True, gc=False):
    """The newest state of a job, or its removal.

    `job` is None if the job must be read elsewhere. If `is_removed` is true, it cannot be read elsewhere,
    because a removal follows. A removal has the last state of the job, if it is known.
    """

    job_id: str
    revision: int
    job: Job | None = None
    removal: RemovalReason | None = None
    is_removed: bool = False


class ChangeLog:
    """The newest changes in the order of their revisions.

    The removal of a job does not replace its final state, so that each watcher gets both. `revision` is that
    of the newest change. A cursor below `floor` may have missed a change.
    """

    def __init__(
        self, floor: int = 0, *, max_changes: int = _MAX_CHANGES, max_bytes: int = _MAX_JOB_BYTES
    ) -> None:
        self.floor = floor
        self.revision = floor
        self._max_changes = max_changes
        self._bytes_left = max_bytes
        self._changes: OrderedDict[_Key, Change] = OrderedDict()
        self._with_job: OrderedDict[_Key, int] = OrderedDict()
        self._order: list[tuple[int, _Key]] = []
        """The revisions and keys of the changes, in between with those of replaced and evicted ones."""

    def add(self, change: Change) -> None:
        """Add the newest change of all, which replaces an earlier state of the same job."""
        assert change.revision > self.revision
        state = self._changes.get((change.job_id, False))
        if state and change.removal:
            self._keep_final(state, change)
        elif state:
            self._remove(state)
        self._put(change)
        self.revision = change.revision
        self._trim()

    def skip_to(self, revision: int) -> None:
        """Note that changes up to a revision are missing: a cursor before it is too old."""
        if revision > self.revision:
            while self._changes:
                self._evict()
            self.floor = self.revision = revision

    def since(self, revision: int, count: int) -> list[Change]:
        """Return the first changes after a revision, at most `count`."""
        first = bisect_right(self._order, revision, key=itemgetter(0))
        current = (self._current(*self._order[number]) for number in range(first, len(self._order)))
        return list(islice(filter(None, current), count))

    def _current(self, revision: int, key: _Key) -> Change | None:
        change = self._changes.get(key)
        return change if change and change.revision == revision else None

    def _keep_final(self, state: Change, removal: Change) -> None:
        """Keep the final state of a removed job, which cannot be read elsewhere."""
        if removal.removal is RemovalReason.NOT_STARTED:
            self._remove(state)
        elif job := removal.job or state.job:
            self._put(replace(state, job=job, is_removed=True))
        else:
            self._evict_to(state.revision)

    def _put(self, change: Change) -> None:
        """Add a change at the end, or replace one in its place."""
        key = _key(change)
        self._bytes_left += self._with_job.pop(key, 0)
        self._changes[key] = change
        if change.revision > self.revision:
            self._order.append((change.revision, key))
        if change.job:
            self._with_job[key] = size = memory_of(change.job)
            self._bytes_left -= size

    def _remove(self, change: Change) -> None:
        key = _key(change)
        del self._changes[key]
        self._bytes_left += self._with_job.pop(key, 0)

    def _trim(self) -> None:
        while self._bytes_left < 0:
            self._drop_job(self._changes[next(iter(self._with_job))])
        if len(self._changes) > self._max_changes:
            self._evict()
        if len(self._order) > 2 * self._max_changes:
            self._order = [(each.revision, key) for key, each in self._changes.items()]

    def _drop_job(self, change: Change) -> None:
        """Drop the job of a change. If it is not stored elsewhere, cursors before it are too old then."""
        if change.is_removed:
            self._evict_to(change.revision)
        else:
            self._put(replace(change, job=None))

    def _evict_to(self, revision: int) -> None:
        while self.floor < revision:
            self._evict()

    def _evict(self) -> None:
        oldest = next(iter(self._changes.values()))
        self._remove(oldest)
        self.floor = oldest.revision


def _key(change: Change) -> _Key:
    return change.job_id, change.removal is not None
