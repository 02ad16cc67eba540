"""Both ends of the socket between an API process and the supervisor, over a real socket pair."""

import asyncio
import contextlib
import dataclasses
import errno
import socket
from collections.abc import AsyncIterator, Callable

import msgspec
import pytest

from jobworkerd import errors
from jobworkerd.model import Job, JobSpec, JobStatus, Limits, LimitsPolicy, LimitsUpdate
from jobworkerd.protocol import client, messages
from jobworkerd.protocol.client import SupervisorClient, SupervisorFault
from jobworkerd.protocol.job_view import JobView
from jobworkerd.protocol.liveness import Liveness
from jobworkerd.protocol.server import ApiConnection

SPEC = JobSpec(
    command="true",
    limits=Limits(max_cpu=10, max_memory=1, max_io_bps=0, max_pids=0),
    limits_policy=LimitsPolicy.BEST_EFFORT,
    stop_signal=15,
    stop_grace_period=1.0,
    owner="CN=alice",
)
RUNNING = Job(id="a", spec=SPEC, status=JobStatus.RUNNING, create_time_ns=1, log_size=3)
FINAL = msgspec.structs.replace(RUNNING, status=JobStatus.COMPLETED, exit_code=0, log_size=9)

TRAVELLING = [
    errors.CommandNotStarted("command", "ENOENT", "there is no such file"),
    errors.JobNotFound("b"),
    errors.JobNotRunning("b", "completed"),
    errors.OffsetOutOfRange("b", 9, 3),
    errors.LimitUnavailable("max_cpu", "the kernel has none"),
    errors.TooManyJobs(500),
    errors.HostExhausted("no process is left"),
    errors.RequestIdReused("r", "b"),
    errors.Unauthenticated("no certificate"),
    errors.RoleRequired("StopJob", "Admin", "Viewer"),
    errors.ReaderStalled("b", 5.5),
    errors.ShuttingDown(),
    errors.SupervisorUnavailable(),
]


class Table:
    """Jobs that a test sets. `failure` is raised by `get`; `held` keeps `start` waiting."""

    def __init__(self) -> None:
        self.jobs = {"a": RUNNING}
        self.sizes = {"a": 3}
        self.failure: Exception | None = None
        self.held = asyncio.Event()
        self.calls: list[object] = []

    async def start(self, spec: JobSpec) -> Job:
        self.calls.append(("start", spec))
        await self.held.wait()
        return RUNNING

    def get(self, job_id: str, *, live_usage: bool = False) -> Job:
        self.calls.append(("get", job_id, live_usage))
        if self.failure:
            raise self.failure
        if job_id not in self.jobs:
            raise errors.JobNotFound(job_id)
        return self.jobs[job_id]

    def progress(self, job_id: str) -> tuple[int, Job | None]:
        job = self.jobs[job_id]
        return self.sizes[job_id], job if job.status.final else None

    def list(self, request: messages.ListJobs) -> messages.JobPage:
        self.calls.append(request)
        return messages.JobPage(tuple(self.jobs.values()), more=True)

    async def stop(self, request: messages.StopJob) -> Job:
        self.calls.append(request)
        return FINAL

    def update(self, request: messages.UpdateJob) -> Job:
        self.calls.append(request)
        return RUNNING

    def count(self, *call: object) -> int:
        return self.calls.count(call)


@dataclasses.dataclass
class Pair:
    """A client, the connection that answers it, and what came of them."""

    client: SupervisorClient
    connection: ApiConnection
    table: Table
    events: list[str]
    faults: list[tuple[str, BaseException]]
    sent: list[messages.ToApi]

    def grow(self, size: int) -> None:
        self.table.sizes["a"] = size
        self.connection.job_changed("a")

    def notices(self) -> int:
        return sum(isinstance(message, messages.Progress) for message in self.sent)

    def stop_reading(self) -> None:
        """Does what SIGSTOP does to a supervisor."""
        assert self.connection._transport
        self.connection._transport.pause_reading()

    def read_again(self) -> None:
        assert self.connection._transport
        self.connection._transport.resume_reading()

    def end(self) -> None:
        self.table.jobs["a"] = FINAL
        self.grow(9)

    async def settled(self) -> None:
        """Returns once everything that was sent before has been taken: frames keep their order."""
        await self.client.ready()


@pytest.fixture
async def pair(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Pair]:
    ours, theirs = socket.socketpair()
    table, events, faults = Table(), list[str](), list[tuple[str, BaseException]]()
    connection = ApiConnection(
        table,
        lambda known: messages.Certificates((1, 2, 3), b"" if known == (1, 2, 3) else b"ca"),
        on_ready=lambda: events.append("ready"),
        on_fault=lambda *fault: faults.append(fault),
    )
    await asyncio.get_running_loop().create_connection(lambda: connection, sock=theirs)
    connected = await SupervisorClient.connect(ours, lambda: events.append("drain"), events.append)
    send, sent = connection._send, list[messages.ToApi]()

    def record(message: messages.ToApi) -> None:
        sent.append(message)
        send(message)

    monkeypatch.setattr(connection, "_send", record)
    yield Pair(connected, connection, table, events, faults, sent)
    table.held.set()
    connection.close()
    await connected.wait_closed()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0)


def waiting(view: JobView) -> int:
    return len(view._waiting)


async def test_certificates_that_are_known_come_without_their_contents(pair: Pair) -> None:
    assert await pair.client.certificates(()) == messages.Certificates((1, 2, 3), b"ca")
    assert await pair.client.certificates((1, 2, 3)) == messages.Certificates((1, 2, 3))


async def test_replies(pair: Pair) -> None:
    pair.table.held.set()
    listing = messages.ListJobs(page_size=5, statuses=frozenset({JobStatus.RUNNING}), labels={"k": "v"})
    updating = messages.UpdateJob("a", "CN=bob", LimitsUpdate(max_pids=0, cpu_set="0-1"))
    stopping = messages.StopJob(job_id="a", subject="CN=bob", grace_period=0.5)
    await pair.client.ready()
    assert await pair.client.start_job(SPEC) == RUNNING
    assert await pair.client.get_job("a") == RUNNING
    assert await pair.client.list_jobs(listing) == messages.JobPage((RUNNING,), more=True)
    assert await pair.client.update_job(updating) == RUNNING
    assert await pair.client.stop_job(stopping) == FINAL
    assert pair.table.calls == [("start", SPEC), ("get", "a", True), listing, updating, stopping]
    assert pair.events == ["ready"]


async def test_a_slow_reply_holds_no_other_up(pair: Pair) -> None:
    starting = asyncio.create_task(pair.client.start_job(SPEC))
    await until(lambda: pair.table.calls)
    assert await pair.client.get_job("a") == RUNNING
    assert not starting.done()
    pair.table.held.set()
    assert await starting == RUNNING


@pytest.mark.parametrize("error", TRAVELLING, ids=lambda error: type(error).__name__)
async def test_a_domain_error_travels(pair: Pair, error: errors.JobWorkerError) -> None:
    pair.table.failure = error
    with pytest.raises(type(error)) as caught:
        await pair.client.get_job("b")
    assert dataclasses.asdict(caught.value) == dataclasses.asdict(error)
    assert str(caught.value) == str(error)
    assert pair.faults == []


def test_every_error_but_one_travels() -> None:
    # InvalidRequest never reaches the supervisor, as its docstring says.
    travelling = {type(error) for error in TRAVELLING}
    assert travelling | {errors.InvalidRequest} == set(errors.JobWorkerError.__subclasses__())


async def test_a_bug_of_the_supervisor_is_a_fault(pair: Pair) -> None:
    pair.table.failure = ZeroDivisionError("oops")
    with pytest.raises(SupervisorFault, match="oops"):
        await pair.client.get_job("a")
    assert pair.faults == [("GetJob", pair.table.failure)]
    pair.table.failure = None
    assert await pair.client.get_job("a") == RUNNING


@pytest.mark.parametrize("failure", [OSError(errno.ENFILE, "no file is left", "usage"), MemoryError()])
async def test_an_exhausted_host_is_no_bug_of_the_supervisor(pair: Pair, failure: Exception) -> None:
    pair.table.failure = failure
    with pytest.raises(errors.HostExhausted, match=r"no file is left|Cannot allocate memory"):
        await pair.client.get_job("a")
    assert pair.faults == []


async def test_readers_of_a_job_share_one_follow(pair: Pair) -> None:
    async with pair.client.follow("a") as first, pair.client.follow("a") as second:
        assert first is second
        assert (first.job, first.log_size) == (RUNNING, 3)
        assert pair.table.count("get", "a", False) == 1
        pair.grow(5)
        async with asyncio.timeout(30):
            await asyncio.gather(first.changed(3), second.changed(3))
        assert first.log_size == 5


async def test_what_is_known_already_is_not_waited_for(pair: Pair) -> None:
    async with pair.client.follow("a") as view, asyncio.timeout(30):
        await view.changed(2)


async def test_notices_are_coalesced(pair: Pair) -> None:
    async with pair.client.follow("a") as view:
        for size in range(4, 1000):
            pair.grow(size)
        async with asyncio.timeout(30):
            await view.changed(3)
        assert view.log_size == 999
        assert pair.notices() == 1


async def test_a_process_that_does_not_read_gets_the_newest_state_later(pair: Pair) -> None:
    async with pair.client.follow("a") as view:
        pair.connection.pause_writing()
        pair.grow(5)
        await pair.settled()
        pair.grow(8)
        await pair.settled()
        assert view.log_size == 3
        pair.connection.resume_writing()
        async with asyncio.timeout(30):
            await view.changed(3)
        assert view.log_size == 8
        assert pair.notices() == 1


async def test_the_final_job_wakes_all(pair: Pair) -> None:
    async with pair.client.follow("a") as view:
        readers = [asyncio.create_task(view.changed(size)) for size in (3, 9, 10**9)]
        await until(lambda: waiting(view) == len(readers))
        pair.end()
        async with asyncio.timeout(30):
            await asyncio.gather(*readers)
        assert (view.job, view.log_size) == (FINAL, 9)
    pair.connection.job_changed("a")
    await pair.settled()
    assert pair.notices() == 1, "nothing comes after the final state"


async def test_following_a_final_job(pair: Pair) -> None:
    pair.table.jobs["a"] = FINAL
    async with pair.client.follow("a") as view, asyncio.timeout(30):
        await view.changed(10**9)
        assert (view.job, view.log_size) == (FINAL, 9)


async def test_following_a_job_that_is_not_there(pair: Pair) -> None:
    with pytest.raises(errors.JobNotFound):
        async with pair.client.follow("b"):
            pass
    pair.table.jobs["b"] = RUNNING
    async with pair.client.follow("b") as view:
        assert view.job == RUNNING


async def test_unfollow_ends_the_notices(pair: Pair) -> None:
    async with pair.client.follow("a"):
        pass
    await pair.settled()
    pair.grow(5)
    await pair.settled()
    assert pair.notices() == 0
    pair.table.jobs["a"] = msgspec.structs.replace(RUNNING, log_size=5)
    async with pair.client.follow("a") as view:
        assert view.log_size == 5


async def test_a_reader_that_leaves_takes_nothing_from_the_others(pair: Pair) -> None:
    async with pair.client.follow("a") as view:

        async def leave_early() -> None:
            async with pair.client.follow("a") as same:
                await same.changed(3)

        leaving = asyncio.create_task(leave_early())
        await until(lambda: waiting(view) == 1)
        leaving.cancel()
        await asyncio.wait([leaving])
        pair.grow(4)
        async with asyncio.timeout(30):
            await view.changed(3)


async def test_a_closed_socket_fails_all_who_wait(pair: Pair) -> None:
    async with pair.client.follow("a") as view:
        call = asyncio.create_task(pair.client.start_job(SPEC))
        reader = asyncio.create_task(view.changed(3))
        await until(lambda: waiting(view) and ("start", SPEC) in pair.table.calls)
        pair.connection.close()
        async with asyncio.timeout(30):
            results = await asyncio.gather(call, reader, return_exceptions=True)
            await pair.client.wait_closed()
    assert [type(result) for result in results] == [errors.SupervisorUnavailable] * 2
    with pytest.raises(errors.SupervisorUnavailable):
        await pair.client.get_job("a")
    with pytest.raises(errors.SupervisorUnavailable):
        async with pair.client.follow("a"):
            pass


async def test_a_final_job_is_kept_until_it_is_forgotten(pair: Pair) -> None:
    assert not pair.client.keeps_final("a")
    assert await pair.client.get_job("a") == RUNNING
    assert not pair.client.keeps_final("a")
    pair.table.jobs["a"] = FINAL
    assert await pair.client.get_job("a") == FINAL
    assert pair.client.keeps_final("a")
    pair.connection.job_forgotten("a")
    await pair.settled()
    assert not pair.client.keeps_final("a")


async def test_a_job_that_is_forgotten_right_after_the_reply_is_not_kept(pair: Pair) -> None:
    pair.table.jobs["a"] = FINAL
    asking = asyncio.create_task(pair.client.get_job("a"))
    await until(lambda: pair.table.count("get", "a", True))
    pair.connection.job_forgotten("a")  # both frames are on their way now
    assert await asking == FINAL
    await pair.settled()
    assert not pair.client.keeps_final("a")


async def test_only_what_a_process_has_is_said_to_be_forgotten(
    monkeypatch: pytest.MonkeyPatch, pair: Pair
) -> None:
    sent: list[object] = []
    monkeypatch.setattr(pair.connection, "_send", sent.append)
    pair.connection.job_forgotten("a")
    assert sent == []


async def test_kept_ids_have_a_bound(monkeypatch: pytest.MonkeyPatch, pair: Pair) -> None:
    monkeypatch.setattr(client, "_MOST_FINAL", 2)
    for job_id in ("a", "b", "c"):
        pair.table.jobs[job_id] = msgspec.structs.replace(FINAL, id=job_id)
        await pair.client.get_job(job_id)
    assert [pair.client.keeps_final(job_id) for job_id in ("a", "b", "c")] == [False, False, True]


async def test_other_requests_have_their_turn_between_lists(pair: Pair) -> None:
    listing = messages.ListJobs(page_size=5)
    lists = [asyncio.create_task(pair.client.list_jobs(listing)) for _ in range(20)]
    getting = asyncio.create_task(pair.client.get_job("a"))
    await asyncio.wait([*lists, getting])
    served = [call for call in pair.table.calls if call in (listing, ("get", "a", True))]
    assert served.index(("get", "a", True)) == 0
    assert len(served) == 21


@contextlib.asynccontextmanager
async def watched(pair: Pair) -> AsyncIterator[list[bool]]:
    """Watches the supervisor, and gives what was said of it so far: whether it answers."""
    said: list[bool] = []
    watching = asyncio.create_task(pair.client.watch(said.append))
    yield said
    watching.cancel()


@pytest.fixture
def ticks(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Has the clock of pings tick a hundred times faster; a value for each tick so far."""
    seen: list[bool] = []

    class Counting(Liveness):
        def tick(self) -> bool:
            seen.append(super().tick())
            return seen[-1]

    monkeypatch.setattr(client, "TICK_SECONDS", 0.01)
    monkeypatch.setattr(client, "Liveness", Counting)
    return seen


async def test_a_supervisor_that_does_not_answer_fails_all_who_wait_until_it_is_back(
    ticks: list[bool], pair: Pair
) -> None:
    assert ticks == []
    async with watched(pair) as said, asyncio.timeout(30):
        async with pair.client.follow("a") as view:
            call = asyncio.create_task(pair.client.start_job(SPEC))
            reader = asyncio.create_task(view.changed(3))
            await until(lambda: waiting(view) and ("start", SPEC) in pair.table.calls)
            pair.stop_reading()
            starting = asyncio.create_task(_follow(pair))
            results = await asyncio.gather(call, reader, starting, return_exceptions=True)
            assert [str(result) for result in results] == ["the supervisor does not answer; retry"] * 3
            with pytest.raises(errors.SupervisorUnavailable):
                await view.changed(3)
        for ask in (pair.client.get_job("a"), pair.client.list_jobs(messages.ListJobs(page_size=1))):
            with pytest.raises(errors.SupervisorUnavailable):
                await ask
        assert said == [False]
        pair.read_again()
        await until(lambda: said == [False, True])
        assert await pair.client.get_job("a") == RUNNING
        async with pair.client.follow("a") as view:
            pair.grow(4)
            await view.changed(3)


async def _follow(pair: Pair) -> None:
    pair.table.jobs["b"] = RUNNING
    async with pair.client.follow("b"):
        pass


async def test_a_reader_that_was_given_up_does_not_take_the_next_one_along(
    ticks: list[bool], pair: Pair
) -> None:
    async with watched(pair) as said, asyncio.timeout(30):
        async with pair.client.follow("a"):
            pair.stop_reading()
            await until(lambda: said == [False])
            pair.read_again()
            await until(lambda: said == [False, True])
            newer = pair.client.follow("a")
            view = await newer.__aenter__()
        await pair.settled()
        pair.grow(4)
        await view.changed(3)
        await newer.__aexit__(None, None, None)
    assert ticks


async def test_a_request_may_take_as_long_as_it_likes_while_pings_are_answered(
    ticks: list[bool], pair: Pair
) -> None:
    async with watched(pair) as said, asyncio.timeout(30):
        call = asyncio.create_task(pair.client.start_job(SPEC))
        await until(lambda: sum(ticks) > 20)
        pair.table.held.set()
        assert await call == RUNNING
        assert said == []


async def test_what_is_still_to_say_is_said_before_the_end(pair: Pair) -> None:
    async with pair.client.follow("a") as view:
        pair.end()
        pair.connection.close()
        await pair.client.wait_closed()
        assert view.job == FINAL


async def test_drain(pair: Pair) -> None:
    pair.connection.drain()
    await pair.settled()
    assert sorted(pair.events) == ["drain", "ready"]


async def test_a_drain_is_taken_though_the_socket_is_closed_right_after_it(pair: Pair) -> None:
    transport = pair.client._transport
    assert transport
    transport.pause_reading()
    pair.connection.drain()
    pair.connection.close()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    with contextlib.suppress(errors.SupervisorUnavailable):
        pair.client._request(messages.GetJob("a"))
    if not transport.is_closing():
        transport.resume_reading()
    await pair.client.wait_closed()
    assert pair.events == ["drain"]


async def test_a_reader_that_is_gone_when_its_reply_comes_leaves_no_view(pair: Pair) -> None:
    async def read() -> None:
        async with pair.client.follow("a"):
            pass

    reader = asyncio.create_task(read())
    await until(lambda: pair.client._follows)
    (seq,) = pair.client._follows
    reader.cancel()
    await asyncio.sleep(0)  # one turn of the loop: the reader has gone, what it asked has not been dropped
    assert reader.done()
    assert seq in pair.client._follows
    pair.client._take_reply(seq, messages.OneJob(pair.table.jobs["a"]))
    await pair.settled()
    assert pair.client._views == {}
    assert pair.client._follows == {}


async def test_a_job_that_is_forgotten_before_its_end_is_sent_still_ends_for_its_readers(pair: Pair) -> None:
    async with pair.client.follow("a") as view, asyncio.timeout(5):
        await pair.settled()
        pair.connection.pause_writing()  # the process does not read
        pair.end()
        del pair.table.jobs["a"]
        pair.connection.resume_writing()
        await view.changed(3)
        assert view.job == FINAL
