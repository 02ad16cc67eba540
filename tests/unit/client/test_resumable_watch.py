"""The state of a watch: its picture of the jobs, resumption, and resets that its user does not see."""

from jobworker.v1 import job_pb2, job_watch_pb2
from jobworker_client import JobChanged, JobRemoved, WatchEvent, WatchSynced
from jobworker_client.resumable_watch import ResumableWatch, WatchMessage, WatchRequest
from watch_messages import bookmark, changed, removed, reset

DELETED = job_watch_pb2.REMOVAL_REASON_DELETED


def job(job_id: str, status: job_pb2.JobStatus.ValueType = job_pb2.JOB_STATUS_RUNNING) -> job_pb2.Job:
    return job_pb2.Job(id=job_id, status=status)


def started(*messages: WatchMessage) -> ResumableWatch:
    """Return a watch that has read messages of its first call."""
    watch = ResumableWatch(WatchRequest(id_prefix="0"))
    watch.next_request(0.0)
    read(watch, *messages)
    return watch


def read(watch: ResumableWatch, *messages: WatchMessage) -> list[WatchEvent]:
    """Process messages and return the events."""
    for message in messages:
        watch.receive(message)
    return list(iter(watch.next_item, None))


def cursor_of(watch: ResumableWatch) -> str:
    """Start another call, and return its cursor."""
    return watch.next_request(1.0)[0].cursor


def test_the_snapshot_ends_with_one_synced_event() -> None:
    watch = ResumableWatch(WatchRequest(id_prefix="0"))
    request, timeout = watch.next_request(0.0)
    assert (request, timeout) == (WatchRequest(id_prefix="0"), None)
    events = read(watch, changed(job("a")), changed(job("b"), 7), bookmark("x"), bookmark("y"))
    assert events == [JobChanged(job("a")), JobChanged(job("b")), WatchSynced()]
    assert list(watch.jobs) == ["a", "b"]
    assert cursor_of(watch) == "y"


def test_an_incomplete_snapshot_is_repeated_without_repeated_events() -> None:
    watch = started(changed(job("a")), changed(job("b")))
    assert cursor_of(watch) == ""
    events = read(watch, changed(job("b")), changed(job("c")), bookmark("x"))
    gone = JobRemoved("a", job_watch_pb2.REMOVAL_REASON_UNSPECIFIED, job("a"))
    assert events == [JobChanged(job("c")), gone, WatchSynced()]


def test_messages_that_are_sent_again_cause_no_event() -> None:
    ended = job("a", job_pb2.JOB_STATUS_COMPLETED)
    watch = started(bookmark("x"), changed(job("a"), 3), changed(job("b"), 4), removed("b", 5))
    assert cursor_of(watch) == "x"
    assert read(watch, changed(job("b"), 4), removed("b", 5)) == []
    assert read(watch, changed(ended, 6)) == [JobChanged(ended)]


def test_a_reset_removes_the_jobs_that_the_new_snapshot_does_not_have() -> None:
    watch = started(changed(job("a")), changed(job("b"), 9), bookmark("x"))
    ended = job("b", job_pb2.JOB_STATUS_FAILED)
    assert read(watch, reset()) == []
    assert cursor_of(watch) == ""
    assert read(watch, changed(ended), bookmark("y")) == [
        JobChanged(ended),
        JobRemoved("a", job_watch_pb2.REMOVAL_REASON_UNSPECIFIED, job("a")),
        WatchSynced(),
    ]
    assert watch.jobs == {"b": ended}


def test_only_known_jobs_and_missing_ids_are_removed() -> None:
    missing = removed("c", 0, job_watch_pb2.REMOVAL_REASON_NOT_FOUND)
    watch = started(changed(job("a")), bookmark("x"))
    events = read(watch, removed("unknown", 1), missing, removed("a", 2))
    assert events == [
        JobRemoved("c", job_watch_pb2.REMOVAL_REASON_NOT_FOUND, None),
        JobRemoved("a", DELETED, job("a")),
    ]


def test_messages_of_an_unknown_kind_are_ignored() -> None:
    assert read(started(), WatchMessage()) == []
