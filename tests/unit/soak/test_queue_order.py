"""Check that the fault test finds jobs that start out of turn, and no others."""

from dataclasses import replace

from tests.soak.faults.queue_order import QueueTimes, wrong_starts

SECOND = 1_000_000_000
EARLY = QueueTimes("b", "alice", 0, waits=True, create=3, start=10, end=20, queued_from=4, queued_until=8)
LATE = QueueTimes("a", "alice", 0, waits=True, create=1, start=30, queued_from=2, queued_until=15)


def found(*jobs: QueueTimes) -> list[str]:
    return [why for _, _, why in wrong_starts(jobs)]


def test_an_older_job_of_the_same_owner_goes_first() -> None:
    assert found(EARLY, LATE) == ["it is older"]
    assert found(EARLY, replace(LATE, id="c")) == []


def test_a_higher_priority_goes_first() -> None:
    assert found(EARLY, replace(LATE, id="c", priority=1)) == ["its priority is higher"]
    assert found(EARLY, replace(LATE, priority=-1)) == []


def test_a_job_that_does_not_wait_is_refused_while_others_wait() -> None:
    early = replace(EARLY, waits=False, queued_from=0, queued_until=0)
    assert found(early, replace(LATE, id="c", priority=-9)) == [
        "a job without queue_timeout passed the queue"
    ]


def test_a_job_that_may_have_left_the_queue_is_not_late() -> None:
    assert found(EARLY, replace(LATE, queued_until=9)) == []


def test_a_job_that_came_after_the_start_began_is_not_late() -> None:
    assert found(EARLY, replace(LATE, queued_from=9)) == []


def test_the_owner_with_fewer_running_jobs_goes_first() -> None:
    running = QueueTimes("0", "alice", 0, waits=False, create=0, start=1)
    late = replace(LATE, id="c", owner="bob")
    assert found(EARLY, late, running) == ["its owner had at most 0 running jobs, the other at least 1"]


def test_a_job_that_may_have_ended_or_started_does_not_count() -> None:
    late = replace(LATE, id="c", owner="bob")
    running = QueueTimes("0", "alice", 0, waits=False, create=0, start=1)
    assert found(EARLY, late, replace(running, end=9)) == []
    assert found(EARLY, late, running, replace(running, id="1", owner="bob", end=7)) == []
    early = replace(EARLY, create=9 * SECOND, start=10 * SECOND, end=0, queued_from=0, queued_until=0)
    late = replace(late, queued_until=15 * SECOND)
    assert found(early, late, running, replace(running, id="1", owner="bob", end=7))


def test_a_job_does_not_count_when_a_client_has_seen_its_end() -> None:
    early = replace(EARLY, create=3 * SECOND, start=4 * SECOND, end=0, queued_from=0, queued_until=0)
    late = replace(LATE, id="c", owner="bob", queued_until=15 * SECOND)
    running = QueueTimes("0", "alice", 0, waits=False, create=0, start=1)
    ended = replace(running, id="1", owner="bob", end=2 * SECOND)
    assert found(early, late, running, ended) == []
    assert found(early, late, running, replace(ended, end_seen=3 * SECOND - 1)) == [
        "its owner had at most 0 running jobs, the other at least 1"
    ]
