import asyncio

from jobworker_cluster.kube_errors import Unreachable
from jobworker_gateway.kubernetes.keyed_tasks import KeyedTasks


async def test_a_change_during_the_work_repeats_it_and_never_twice_at_once() -> None:
    begun: list[str] = []
    go_on = asyncio.Event()
    done = asyncio.Event()

    async def work(job_id: str) -> None:
        begun.append(job_id)
        await go_on.wait()
        if len(begun) == 2:
            done.set()

    tasks = KeyedTasks(work)
    tasks.schedule("a")
    await asyncio.sleep(0)
    tasks.schedule("a")
    tasks.schedule("a")
    await asyncio.sleep(0)
    assert begun == ["a"]
    go_on.set()
    await done.wait()
    await tasks.close()
    assert begun == ["a", "a"]


async def test_a_failure_is_tried_again() -> None:
    trials = 0
    done = asyncio.Event()

    async def work(_job_id: str) -> None:
        nonlocal trials
        trials += 1
        if trials < 3:
            raise [Unreachable(0, "no answer"), ValueError("a bug")][trials - 1]
        done.set()

    tasks = KeyedTasks(work)
    tasks.schedule("a")
    await done.wait()
    await tasks.close()


async def test_nothing_starts_after_the_end() -> None:
    begun: list[str] = []

    async def work(job_id: str) -> None:
        begun.append(job_id)

    tasks = KeyedTasks(work)
    await tasks.close()
    tasks.schedule("a")
    await asyncio.sleep(0)
    assert not begun
