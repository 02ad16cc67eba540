"""The log of changes: coalesced by job, bounded, and complete for each cursor that it accepts."""

from collections import OrderedDict
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from jobworkerd.job_memory import memory_of
from jobworkerd.model import Job, JobStatus
from jobworkerd.protocol.change_log import Change, ChangeLog, RemovalReason
from jobworkerd.protocol.job_changes import JobChanges
from sample_jobs import FINAL, RUNNING

JOB_BYTES = memory_of(RUNNING)


def job(job_id: str, status: JobStatus = JobStatus.RUNNING) -> Job:
    return replace(FINAL if status.final else RUNNING, id=job_id, status=status)


def revisions(log: ChangeLog, after: int = 0, count: int = 100) -> list[int]:
    return [change.revision for change in log.since(after, count)]


def filled(*job_ids: str, max_changes: int = 100) -> ChangeLog:
    log = ChangeLog(max_changes=max_changes)
    for revision, job_id in enumerate(job_ids, 1):
        log.add(Change(job_id, revision))
    return log


def test_changes_of_one_job_are_coalesced() -> None:
    log = filled("a", "b", "a", "c")
    assert revisions(log) == [2, 3, 4]
    assert revisions(log, 3) == [4]
    assert revisions(log, 0, 2) == [2, 3]


def test_a_batch_costs_as_much_as_its_own_changes() -> None:
    log = filled(*(f"job {number}" for number in range(5_000)), max_changes=5_000)
    looked_up = Counting(log._changes)
    log._changes = looked_up
    assert revisions(log, 10, 3) == [11, 12, 13]
    assert looked_up.count == 3


class Counting(OrderedDict[Any, Change]):
    """Changes that count how many of them are read."""

    count = 0

    def get(self, key: Any, default: Any = None) -> Any:
        self.count += 1
        return super().get(key, default)

    def values(self) -> Any:
        raise AssertionError("all changes are read")


def test_replaced_changes_take_no_memory() -> None:
    log = ChangeLog(max_changes=10)
    for revision in range(1, 1_000):
        log.add(Change("a", revision))
        assert revisions(log) == [revision]
    assert len(log._order) <= 20


def test_an_evicted_change_raises_the_floor() -> None:
    log = filled("a", "b", "c", max_changes=2)
    assert (log.floor, revisions(log)) == (1, [2, 3])


def test_a_gap_makes_earlier_cursors_too_old() -> None:
    log = filled("a", "b")
    log.skip_to(2)
    assert (log.floor, revisions(log)) == (0, [1, 2])
    log.skip_to(5)
    assert (log.floor, log.revision, revisions(log)) == (5, 5, [])


def test_old_changes_lose_their_jobs_but_stay() -> None:
    log = ChangeLog(max_bytes=2 * JOB_BYTES)
    for revision, job_id in enumerate("abc", 1):
        log.add(Change(job_id, revision, job(job_id)))
    assert [change.job is None for change in log.since(0, 10)] == [True, False, False]
    assert log.floor == 0


def test_a_final_status_that_must_be_dropped_makes_earlier_cursors_too_old() -> None:
    log = ChangeLog(max_bytes=JOB_BYTES)
    final = job("a", JobStatus.COMPLETED)
    log.add(Change("a", 1))
    log.add(Change("a", 2, final, RemovalReason.DELETED))
    assert log.floor == 1
    assert log.since(1, 10) == [Change("a", 2, final, RemovalReason.DELETED)]
    log.add(Change("b", 3, job("b")))
    assert log.since(1, 10) == [Change("a", 2, None, RemovalReason.DELETED), Change("b", 3, job("b"))]


def test_a_removal_keeps_the_final_state_in_its_place() -> None:
    log = filled("a", "b")
    final = job("a", JobStatus.COMPLETED)
    log.add(Change("a", 3, final, RemovalReason.DELETED))
    assert [(each.job_id, each.job, each.is_removed) for each in log.since(0, 10)] == [
        ("a", final, True),
        ("b", None, False),
        ("a", final, False),
    ]


def test_a_final_state_that_is_not_known_makes_earlier_cursors_too_old() -> None:
    log = filled("a", "b")
    log.add(Change("a", 3, None, RemovalReason.DELETED))
    assert (log.floor, revisions(log, 1)) == (1, [2, 3])
    final = job("c", JobStatus.COMPLETED)
    log.add(Change("c", 4, final))
    log.add(Change("c", 5, None, RemovalReason.DELETED))
    assert (log.floor, log.since(3, 1)) == (1, [Change("c", 4, final, is_removed=True)])


def test_a_job_that_was_never_final_leaves_only_its_removal() -> None:
    log = filled("a", "b")
    log.add(Change("a", 3, None, RemovalReason.NOT_STARTED))
    assert revisions(log) == [2, 3]


@dataclass
class Watcher:
    """A client that reads in steps, and keeps a picture of the statuses and of what it saw."""

    cursor: int = 0
    picture: dict[str, JobStatus] = field(default_factory=dict)
    seen_final: set[str] = field(default_factory=set)
    resets: int = 0

    def read(self, changes: JobChanges, jobs: dict[str, Job], count: int) -> None:
        log = changes.log
        if self.cursor < log.floor:
            self.resets += 1
            self.cursor = log.revision
            self.picture = {}
            for each in jobs.values():
                self._see(each)
            return
        for change in log.since(self.cursor, count):
            assert change.revision > self.cursor
            if change.removal:
                del self.picture[change.job_id]
            else:
                self._see(change.job or jobs[change.job_id])
            self.cursor = change.revision

    def _see(self, job: Job) -> None:
        self.picture[job.id] = job.status
        if job.status.final:
            self.seen_final.add(job.id)


START, END, DELETE, READ_A, READ_B = range(5)
Step = tuple[int, str, int]
steps = st.lists(st.tuples(st.integers(START, READ_B), st.sampled_from("pq"), st.integers(1, 3)), max_size=80)


@settings(deadline=None)
@given(steps=steps, max_changes=st.integers(1, 9))
def test_each_watcher_ends_in_the_picture_of_the_server_and_sees_each_final_status(
    steps: list[Step], max_changes: int
) -> None:
    changes = JobChanges()
    changes.log = ChangeLog(max_changes=max_changes)
    jobs: dict[str, Job] = {}
    watchers = (Watcher(), Watcher())
    ended: list[str] = []
    for number, (action, name, count) in enumerate(steps):
        found = next((each for each in jobs if each.startswith(name)), "")
        if action == START:
            job_id = f"{name}{number}"
            jobs[job_id] = job(job_id)
            changes.changed(job_id)
        elif action == END and found and not jobs[found].status.final:
            jobs[found] = job(found, JobStatus.COMPLETED)
            ended.append(found)
            changes.changed(found)
        elif action == DELETE and found and jobs[found].status.final:
            changes.removed(found, RemovalReason.DELETED, jobs.pop(found))
        elif action in {READ_A, READ_B}:
            watchers[action - READ_A].read(changes, jobs, count)
        assert all(first < second for first, second in pairwise(revisions(changes.log)))
    for watcher in watchers:
        while watcher.cursor < changes.log.revision:
            watcher.read(changes, jobs, 2)
        assert watcher.picture == {each.id: each.status for each in jobs.values()}
        if not watcher.resets:
            assert watcher.seen_final == set(ended)
