"""The queue, compared with a model that sorts and simulates."""

import time
from collections import Counter
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from jobworkerd.supervisor.job_queue import JobQueue, QueuedJob


def queued(number: int, owner: str = "ann", priority: int = 0) -> QueuedJob:
    return QueuedJob(f"{number:05}", owner, priority, max_cpu=10, max_memory=1)


def queue_of(*jobs: QueuedJob) -> JobQueue:
    queue = JobQueue()
    for job in jobs:
        queue.add(job)
    return queue


def start_next(queue: JobQueue) -> str:
    job = queue.first()
    assert job
    queue.remove(job.id)
    queue.started(job.owner)
    return job.id


def start_all(queue: JobQueue) -> list[str]:
    return [start_next(queue) for _ in range(len(queue))]


@dataclass
class Model:
    """The documented order, by a sort for each start."""

    waiting: dict[str, QueuedJob] = field(default_factory=dict)
    running: Counter[str] = field(default_factory=Counter)
    reserved: set[str] = field(default_factory=set)
    max_running: int = 0

    def first(self) -> QueuedJob | None:
        allowed = (
            job
            for job in self.waiting.values()
            if not self.max_running or self.running[job.owner] < self.max_running
        )
        return min(allowed, key=self._key, default=None)

    def _key(self, job: QueuedJob) -> tuple[object, ...]:
        return (-job.priority, job.id not in self.reserved, self.running[job.owner], job.id)

    def in_order(self) -> list[str]:
        copy = Model(dict(self.waiting), self.running.copy(), set(self.reserved))
        order = []
        while job := copy.first():
            order.append(job.id)
            del copy.waiting[job.id]
            copy.running[job.owner] += 1
        return order


JOBS = st.builds(queued, st.integers(0, 60), st.sampled_from("abc"), st.sampled_from((-1, 0, 5)))
STEPS = st.lists(
    st.one_of(
        JOBS.map(lambda job: ("add", job)),
        st.just(("start", None)),
        st.just(("reserve", None)),
        st.integers(0, 60).map(lambda number: ("remove", queued(number))),
        st.sampled_from("abc").map(lambda owner: ("end", queued(0, owner))),
        st.sampled_from("abc").map(lambda owner: ("direct", queued(0, owner))),
    ),
    max_size=80,
)


@given(STEPS)
def test_agrees_with_the_model(steps: list[tuple[str, QueuedJob | None]]) -> None:
    queue, model = JobQueue(), Model()
    for step, job in steps:
        apply(queue, model, step, job)
        assert queue.first() == model.first()
        order = model.in_order()
        assert len(queue) == len(order)
        for position, job_id in enumerate(order, 1):
            assert queue.positions([job_id])[job_id] == position, "one job"
        positions = queue.positions(order * 10)
        assert [positions[job_id] for job_id in order] == list(range(1, len(order) + 1)), "all jobs"


def apply(queue: JobQueue, model: Model, step: str, job: QueuedJob | None) -> None:
    match step, job:
        case "add", QueuedJob() if job.id not in model.waiting:
            queue.add(job)
            model.waiting[job.id] = job
        case "remove", QueuedJob() if job.id in model.waiting:
            assert queue.remove(job.id) == model.waiting.pop(job.id)
            model.reserved.discard(job.id)
        case "direct", QueuedJob():
            queue.started(job.owner)
            model.running[job.owner] += 1
        case "end", QueuedJob() if model.running[job.owner]:
            queue.ended(job.owner)
            model.running[job.owner] -= 1
        case (("start" | "reserve"), None) if first := model.first():
            if step == "reserve":
                queue.reserve(first.id)
                others = {each for each in model.reserved if model.waiting[each].priority != first.priority}
                model.reserved = others | {first.id}
                return
            assert start_next(queue) == first.id
            del model.waiting[first.id]
            model.reserved.discard(first.id)
            model.running[first.owner] += 1


def test_a_higher_priority_starts_first() -> None:
    queue = queue_of(queued(1, priority=-100), queued(2), queued(3, priority=100))

    assert start_all(queue) == ["00003", "00002", "00001"]


def test_owners_take_turns() -> None:
    queue = queue_of(queued(1, "ann"), queued(2, "ann"), queued(3, "ann"), queued(4, "bob"), queued(5, "bob"))

    assert start_all(queue) == ["00001", "00004", "00002", "00005", "00003"]


def test_jobs_that_run_already_count() -> None:
    queue = queue_of(queued(1, "ann"), queued(2, "bob"))
    queue.started("ann")

    assert start_all(queue) == ["00002", "00001"]


def test_the_age_decides_between_owners_with_as_many_running_jobs() -> None:
    queue = queue_of(queued(2, "ann"), queued(1, "bob"))

    assert start_all(queue) == ["00001", "00002"]


def test_a_reserved_job_is_not_overtaken_by_another_owner() -> None:
    queue = queue_of(queued(1, "ann"))
    queue.started("ann")
    queue.reserve("00001")
    queue.add(queued(2, "bob"))

    assert queue.positions(["00002"]) == {"00002": 2}
    assert start_all(queue) == ["00001", "00002"]


def test_a_reserved_job_is_overtaken_by_a_higher_priority() -> None:
    queue = queue_of(queued(1))
    queue.reserve("00001")
    queue.add(queued(2, priority=1))

    assert start_all(queue) == ["00002", "00001"]


def test_the_next_job_of_the_owner_follows_one_that_no_longer_waits() -> None:
    queue = queue_of(queued(1, "ann"), queued(2, "bob"), queued(3, "ann"), queued(4, "bob"))
    queue.remove("00001")
    queue.remove("00002")

    assert start_all(queue) == ["00003", "00004"]


def test_an_empty_queue_has_no_first_job() -> None:
    assert JobQueue().first() is None


def test_ten_thousand_jobs_start_without_a_sort_for_each_of_them() -> None:
    """10,000 sorts of 10,000 jobs take more than a minute."""
    queue = queue_of(*(queued(n, f"owner {n % 1_000}", n % 7) for n in range(10_000)))
    begin = time.process_time()
    start_all(queue)

    assert time.process_time() - begin < 2


def test_the_position_of_a_new_job_is_known_without_a_sort() -> None:
    """10,000 sorts take more than a minute."""
    begin = time.process_time()
    queue = JobQueue()
    for n in range(10_000):
        job = queued(n, f"owner {n % 3}", n % 7)
        queue.add(job)
        assert queue.positions([job.id])[job.id] <= len(queue)

    assert time.process_time() - begin < 2


MAX_RUNNING = 2


@given(STEPS)
def test_jobs_of_an_owner_with_the_maximum_are_passed_over(steps: list[tuple[str, QueuedJob | None]]) -> None:
    queue, model = JobQueue(MAX_RUNNING), Model(max_running=MAX_RUNNING)
    for step, job in steps:
        apply(queue, model, step, job)
        assert queue.first() == model.first()
        for owner in "abc":
            assert queue.count_of(owner) == sum(job.owner == owner for job in model.waiting.values())
