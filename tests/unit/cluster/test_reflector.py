"""The reflector against an apiserver over HTTP."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from fake_apiserver import FakeApiserver, apiserver
from jobworker_cluster.kube import Kube
from jobworker_cluster.reflector import Backoff, Changed, Current, Deleted, Event, Listed, Reflector
from jobworker_cluster.resources import Selection, pods

PODS = "/api/v1/namespaces/jobworker/pods"
SELECTION = Selection(pods("jobworker"), "app=job")


@pytest.fixture
async def served() -> AsyncIterator[tuple[FakeApiserver, Kube]]:
    async with apiserver() as (fake, kube):
        yield fake, kube


def item(name: str, app: str = "job") -> dict[str, object]:
    return {"metadata": {"name": name, "uid": name, "labels": {"app": app}}}


def reflector(kube: Kube, watch_seconds: int = 20) -> Reflector:
    return Reflector(kube, SELECTION, watch_seconds=watch_seconds, backoff=Backoff(0.001, 0.002))


def names(event: Event) -> list[str]:
    match event:
        case Listed(items=items):
            return [each["metadata"]["name"] for each in items]
        case Changed(item=each) | Deleted(item=each):
            return [each["metadata"]["name"]]
    return []


async def test_events_begin_with_a_list_and_go_on_with_changes(served: tuple[FakeApiserver, Kube]) -> None:
    fake, kube = served
    await fake.put(f"{PODS}/a", item("a"))
    await fake.put(f"{PODS}/x", item("x", app="other"))
    followed = reflector(kube)
    assert followed.problem == "pods: not listed yet"
    events = followed.events()
    first = await anext(events)
    assert isinstance(first, Listed)
    assert (names(first), first.resource_version) == (["a"], fake.version)
    assert followed.problem == ""
    await fake.put(f"{PODS}/b", item("b"))
    await fake.remove(f"{PODS}/a")
    second, third = await anext(events), await anext(events)
    assert isinstance(second, Changed)
    assert isinstance(third, Deleted)
    assert (names(second), names(third), third.resource_version) == (["b"], ["a"], fake.version)


async def test_a_long_list_is_read_in_pages(served: tuple[FakeApiserver, Kube]) -> None:
    fake, kube = served
    for number in range(1_001):
        await fake.put(f"{PODS}/{number:04}", item(f"{number:04}"))
    assert len(names(await anext(reflector(kube).events()))) == 1_001
    assert len(fake.requests) == 3


async def test_a_bookmark_advances_the_version(served: tuple[FakeApiserver, Kube]) -> None:
    fake, kube = served
    events = reflector(kube).events()
    await anext(events)
    await fake.bookmark()
    assert await anext(events) == Current(fake.version)


async def test_a_cut_connection_loses_no_change(served: tuple[FakeApiserver, Kube]) -> None:
    fake, kube = served
    events = reflector(kube).events()
    await anext(events)
    await fake.put(f"{PODS}/a", item("a"))
    assert names(await anext(events)) == ["a"]
    fake.cut()
    await fake.put(f"{PODS}/b", item("b"))
    assert names(await anext(events)) == ["b"]
    assert fake.requests.count(f"GET {PODS}") == 4  # one list, two watches, a check


async def test_a_watch_that_ends_in_time_goes_on(served: tuple[FakeApiserver, Kube]) -> None:
    fake, kube = served
    events = reflector(kube, watch_seconds=0).events()
    await anext(events)
    change = asyncio.ensure_future(anext(events))
    while fake.requests.count(f"GET {PODS}") < 4:
        await asyncio.sleep(0.001)
    await fake.put(f"{PODS}/a", item("a"))
    assert names(await change) == ["a"]


class CountedBackoff(Backoff):
    """Counts the delays."""

    delays = 0

    def next(self) -> float:
        """Return the next delay."""
        self.delays += 1
        return super().next()


async def test_watches_that_end_at_once_are_opened_again_after_a_delay(
    served: tuple[FakeApiserver, Kube],
) -> None:
    """Otherwise each agent and each gateway sends requests as fast as the apiserver answers."""
    fake, kube = served
    fake.ends_watches = True
    backoff = CountedBackoff(0.001, 0.002)
    events = Reflector(kube, SELECTION, backoff=backoff).events()
    await anext(events)
    change = asyncio.ensure_future(anext(events))
    await until(lambda: fake.requests.count(f"GET {PODS}") > 10)
    assert backoff.delays >= 9
    fake.ends_watches = False
    await fake.put(f"{PODS}/a", item("a"))
    assert names(await change) == ["a"]


async def test_a_version_that_is_too_old_is_a_new_list(served: tuple[FakeApiserver, Kube]) -> None:
    fake, kube = served
    events = reflector(kube).events()
    await anext(events)
    await fake.put(f"{PODS}/a", item("a"))
    await anext(events)
    waiting = asyncio.ensure_future(anext(events))
    await asyncio.sleep(0)
    await fake.put(f"{PODS}/x", item("x", app="other"))
    await fake.put(f"{PODS}/y", item("y", app="other"))
    fake.forget()
    fake.cut()
    found = await waiting
    assert isinstance(found, Listed)
    assert names(found) == ["a"]
    # Thousands of clients that read all objects from etcd at the same moment would keep it from answering.
    assert fake.lists == ["", "2"]


async def test_a_store_that_was_restored_is_listed_without_a_version(
    served: tuple[FakeApiserver, Kube],
) -> None:
    fake, kube = served
    await fake.put(f"{PODS}/a", item("a"))
    events = reflector(kube).events()
    await anext(events)
    waiting = asyncio.ensure_future(anext(events))
    await until(lambda: fake.requests.count(f"GET {PODS}") > 1)
    fake.version = 1
    fake.cut()
    found = await waiting
    assert isinstance(found, Listed)
    assert found.resource_version == 1
    assert fake.lists == ["", ""]


async def test_a_second_iteration_goes_on_after_the_first(served: tuple[FakeApiserver, Kube]) -> None:
    fake, kube = served
    followed = reflector(kube)
    first = followed.events()
    await anext(first)
    waiting = asyncio.ensure_future(anext(first))
    await until(lambda: fake.requests.count(f"GET {PODS}") > 1)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await fake.put(f"{PODS}/a", item("a"))
    assert names(await anext(followed.events())) == ["a"]
    assert fake.lists == [""]


@pytest.mark.parametrize("status", [500, 503, 429, 403, 410])
async def test_errors_are_retried_and_reported(served: tuple[FakeApiserver, Kube], status: int) -> None:
    fake, kube = served
    followed = reflector(kube)
    events = followed.events()
    await anext(events)
    waiting = asyncio.ensure_future(anext(events))
    await until(lambda: fake.requests.count(f"GET {PODS}") > 1)
    fake.always = status
    fake.cut()
    if status != 410:
        await until(lambda: followed.problem == "pods: a fault")
    fake.always = 0
    await fake.put(f"{PODS}/a", item("a"))
    assert names(await waiting) == ["a"]
    assert followed.problem == ""


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.001)


def test_delays_grow_to_a_bound_and_start_again_after_a_success() -> None:
    backoff = Backoff(1, 5)
    bounds = [1, 2, 4, 5, 5]
    assert all(bound / 2 <= backoff.next() <= bound for bound in bounds)
    backoff.reset()
    assert backoff.next() <= 1
