"""The changes of all jobs of the cluster, coalesced by job. A watcher is a cursor in it, without a queue."""

import os
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Sequence
from itertools import islice
from typing import NamedTuple

from jobworker.v1 import job_pb2, job_watch_pb2
from jobworker_cluster.records import is_final
from jobworker_gateway.job_table import JobTable, LiveJob
from jobworkerd.protocol.waiters import Waiters

_MAX_CHANGES = 10_000
_MAX_BYTES = 32 * 1024 * 1024

_Key = tuple[str, bool]
"""The id of a job, and whether the change is its removal."""


class Change(NamedTuple):
    """The newest state of a job; with a `removal`, the last one."""

    revision: int
    job: job_pb2.Job
    removal: job_watch_pb2.RemovalReason.ValueType = job_watch_pb2.REMOVAL_REASON_UNSPECIFIED


class ChangeFeed:
    """The newest changes in the order of their revisions.

    The removal of a job does not replace its final state, so that each watcher gets both. A cursor below
    `floor` may have missed a change. `epoch` differs between gateways, and after a restart.
    """

    def __init__(self, *, max_changes: int = _MAX_CHANGES, max_bytes: int = _MAX_BYTES) -> None:
        self.epoch = int.from_bytes(os.urandom(8), "big")
        self.floor = 0
        self.revision = 0
        self._max_changes = max_changes
        self._bytes_left = max_bytes
        self._changes: OrderedDict[_Key, Change] = OrderedDict()
        self._order: list[tuple[int, _Key]] = []
        """The revisions and keys of the changes, in between with those of replaced and evicted ones."""
        self._waiters = Waiters()

    def follow(self, table: JobTable) -> None:
        """Add each change of a table from now on."""
        table.listen(self._add_live)
        table.listen_to_removals(self._add_missing)

    def removed(self, job: job_pb2.Job) -> None:
        """Add the removal of a final job that a client has deleted."""
        self._add(job, job_watch_pb2.REMOVAL_REASON_DELETED)

    async def reached(self, revision: int) -> None:
        """Wait until the changes up to a revision are here."""
        while self.revision < revision:
            await self._waiters.wait()

    def since(self, revision: int, count: int) -> Sequence[Change]:
        """Return the first changes after a revision, at most `count`."""
        first = bisect_right(self._order, revision, key=lambda each: each[0])
        current = (self._current(*self._order[number]) for number in range(first, len(self._order)))
        return list(islice(filter(None, current), count))

    def _current(self, revision: int, key: _Key) -> Change | None:
        change = self._changes.get(key)
        return change if change and change.revision == revision else None

    def _add_live(self, live: LiveJob) -> None:
        """Add the state of a job, unless it is the former one, or the job has ended or is deleted.

        A slow gateway can create a Pod for a job that another one has archived.
        """
        former = self._changes.get((live.job.id, False))
        if former and (former.job == live.job or (is_final(former.job) and not live.final)):
            return
        if (live.job.id, True) in self._changes:
            return
        self._add(live.job, job_watch_pb2.REMOVAL_REASON_UNSPECIFIED)

    def _add_missing(self, last: LiveJob) -> None:
        """Add the removal of a job of which this gateway has missed the end.

        Another gateway archived the job, and a client has deleted it. Or the cluster has lost it.
        """
        if not last.final:
            self._add(last.job, job_watch_pb2.REMOVAL_REASON_DELETED)

    def _add(self, job: job_pb2.Job, removal: job_watch_pb2.RemovalReason.ValueType) -> None:
        key = job.id, bool(removal)
        if former := self._changes.pop(key, None):
            self._bytes_left += former.job.ByteSize()
        self.revision += 1
        self._changes[key] = Change(self.revision, job, removal)
        self._order.append((self.revision, key))
        self._bytes_left -= job.ByteSize()
        while self._bytes_left < 0 or len(self._changes) > self._max_changes:
            self._evict()
        if len(self._order) > 2 * self._max_changes:
            self._order = [(each.revision, key) for key, each in self._changes.items()]
        self._waiters.wake()

    def _evict(self) -> None:
        _, oldest = self._changes.popitem(last=False)
        self._bytes_left += oldest.job.ByteSize()
        self.floor = oldest.revision
