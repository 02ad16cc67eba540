"""GetJobsStream through a gateway."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any

import pytest

from cluster_jobs import ALICE, final, job, job_id
from fake_cluster import FakeCluster
from jobworker.v1 import job_pb2, job_service_pb2
from jobworker_gateway import node_stream, relay
from jobworker_gateway.engine import ArchivedJob
from jobworker_gateway.job_table import LiveJob
from jobworker_gateway.node_connections import NodeConnections
from jobworker_gateway.node_errors import NodeError
from jobworker_gateway.relay import Relays
from jobworkerd import errors
from jobworkerd.config import LogConfig
from scripted_node import Context, ScriptedNode, answer, fail, hang, then_wait

ID = job_id(0)
Request = job_service_pb2.GetJobsStreamRequest
Response = job_service_pb2.GetJobsStreamResponse

RUNNING = job(ID, node="one", attempt=1)
LOCAL_END = Response(result=job(ID, "COMPLETED", owner="the node's record"), offset=6, next_offset=6)


def chunk(text: str, offset: int) -> Response:
    """Return a message with output."""
    data = text.encode()
    return Response(payload=data, offset=offset, next_offset=offset + len(data))


class Client:
    """A client. It reads a message when the test lets it, or at once."""

    def __init__(self) -> None:
        self.messages: list[Response] = []
        self.reads = asyncio.Semaphore(0)
        self.writes = 0
        self.reads_at_once = True

    async def write(self, message: bytes) -> None:
        """Take a message."""
        self.writes += 1
        if not self.reads_at_once:
            await self.reads.acquire()
        self.messages.append(Response.FromString(message))

    @property
    def output(self) -> bytes:
        """The bytes of all payloads."""
        return b"".join(message.payload for message in self.messages)


@pytest.fixture
def client() -> Client:
    """A client."""
    return Client()


Stream = Callable[..., Coroutine[Any, Any, None]]


@pytest.fixture
def stream(cluster: FakeCluster, nodes: NodeConnections, client: Client) -> Stream:
    """Return a function that streams the job to the client."""

    async def call(stall_timeout: float = 5.0, **fields: Any) -> None:
        relays = Relays(
            cluster.jobs, nodes, LogConfig(stall_timeout=stall_timeout), asyncio.get_running_loop().time
        )
        async with relays.open(Request(id=ID, **fields), ALICE) as opened:
            await opened.write(client)

    return call


async def test_the_messages_of_the_node_pass_unchanged_and_the_result_is_the_clusters(
    cluster: FakeCluster, node: ScriptedNode, client: Client, stream: Stream
) -> None:
    await cluster.put(final(ID, log_size=6))
    output = [chunk("abc", 0), chunk("def", 3)]
    node.on("GetJobsStream", answer(*output, LOCAL_END))
    await stream()
    assert client.messages == [*output, Response(result=final(ID, log_size=6), offset=6, next_offset=6)]
    assert node.calls == [("GetJobsStream", ALICE)]


async def test_the_result_follows_when_the_cluster_has_the_record(
    cluster: FakeCluster, node: ScriptedNode, client: Client, stream: Stream
) -> None:
    await cluster.put(RUNNING)
    node.on("GetJobsStream", answer(chunk("abcdef", 0), LOCAL_END))
    streaming = asyncio.create_task(stream())
    while not client.messages:
        await asyncio.sleep(0.001)
    await cluster.put(final(ID))
    await streaming
    assert client.messages[-1].result == final(ID)


async def test_a_stream_continues_after_its_last_message_when_the_connection_breaks(
    cluster: FakeCluster, node: ScriptedNode, client: Client, stream: Stream
) -> None:
    await cluster.put(RUNNING)
    waiting = asyncio.Event()
    requests: list[Request] = []

    async def second(context: Context) -> None:
        data = await context.read()
        assert isinstance(data, bytes)
        requests.append(Request.FromString(data))
        await context.write(chunk("def", 3).SerializeToString())
        await context.write(LOCAL_END.SerializeToString())

    start = Response(start_offset=0, offset=0, next_offset=0)
    node.on("GetJobsStream", then_wait(waiting, start, chunk("abc", 0)), second)
    streaming = asyncio.create_task(stream(tail_lines=10, mixed_sources=True))
    await waiting.wait()
    while len(client.messages) < 2:
        await asyncio.sleep(0.001)
    await node.stop()
    await node.start()
    await cluster.put(final(ID))
    await streaming
    assert client.output == b"abcdef"
    assert requests == [Request(id=ID, offset=3, mixed_sources=True)]


@pytest.mark.parametrize(
    "error", [errors.ShuttingDown(), errors.SupervisorUnavailable(), errors.ReaderStalled(ID, 5.0)]
)
async def test_a_temporary_error_of_the_node_is_not_the_clients(
    cluster: FakeCluster, node: ScriptedNode, client: Client, stream: Stream, error: errors.JobWorkerError
) -> None:
    await cluster.put(final(ID))
    node.on("GetJobsStream", fail(error, chunk("abc", 0)), answer(chunk("def", 3), LOCAL_END))
    await stream()
    assert client.output == b"abcdef"


async def test_an_error_of_the_node_passes_unchanged(
    cluster: FakeCluster, node: ScriptedNode, stream: Stream
) -> None:
    await cluster.put(final(ID))
    node.on("GetJobsStream", fail(errors.OffsetOutOfRange(ID, 7, 6)))
    with pytest.raises(NodeError) as caught:
        await stream(offset=7)
    status = caught.value.status
    assert status.details == str(errors.OffsetOutOfRange(ID, 7, 6))
    assert [key for key, _ in status.trailing_metadata or ()] == ["grpc-status-details-bin"]


async def test_a_slow_client_holds_up_the_node(
    cluster: FakeCluster, node: ScriptedNode, client: Client, stream: Stream
) -> None:
    await cluster.put(final(ID))
    count, size = 400, 256 * 1024
    written: list[int] = []

    async def flood(context: Context) -> None:
        await context.read()
        for number in range(count):
            await context.write(chunk("x" * size, number * size).SerializeToString())
            written.append(number)
        await context.write(LOCAL_END.SerializeToString())

    node.on("GetJobsStream", flood)
    client.reads_at_once = False
    streaming = asyncio.create_task(stream(stall_timeout=60.0))
    seen = -1
    while (
        seen != len(written) or not client.writes
    ):  # until the node makes no progress any more; a loaded host makes this end early only
        seen = len(written)
        await asyncio.sleep(0.5)
    assert client.writes == 1
    assert len(written) < 16
    client.reads_at_once = True
    client.reads.release()
    await streaming
    assert len(client.output) == count * size


async def test_a_slow_client_does_not_hold_up_another_one(
    cluster: FakeCluster, node: ScriptedNode, nodes: NodeConnections
) -> None:
    await cluster.put(final(ID))
    chunks = [chunk("x" * 262_144, number * 262_144) for number in range(200)]
    node.on("GetJobsStream", answer(*chunks, LOCAL_END))
    relays = Relays(cluster.jobs, nodes, LogConfig(stall_timeout=60.0), asyncio.get_running_loop().time)
    slow = [Client() for _ in range(5)]
    async with AsyncExitStack() as open_:
        for each in slow:
            each.reads_at_once = False
            opened = await open_.enter_async_context(relays.open(Request(id=ID), ALICE))
            streaming = asyncio.ensure_future(opened.write(each))
            open_.callback(streaming.cancel)
        while not all(each.writes for each in slow):
            await asyncio.sleep(0.001)
        fast = Client()
        opened = await open_.enter_async_context(relays.open(Request(id=ID), ALICE))
        await opened.write(fast)
        assert len(fast.output) == 200 * 262_144
        assert [each.writes for each in slow] == [1] * 5
        assert len(node.peers) == 1


async def test_a_client_that_stalls_is_ended(
    cluster: FakeCluster, node: ScriptedNode, client: Client, stream: Stream
) -> None:
    await cluster.put(final(ID))
    node.on("GetJobsStream", answer(chunk("abc", 0), LOCAL_END))
    client.reads_at_once = False
    with pytest.raises(errors.ReaderStalled):
        await stream(stall_timeout=0.05)


async def test_a_queued_job_streams_when_it_starts(
    cluster: FakeCluster, node: ScriptedNode, client: Client, stream: Stream
) -> None:
    await cluster.put(job(ID, "QUEUED"))
    node.on("GetJobsStream", answer(chunk("abcdef", 0), LOCAL_END))
    streaming = asyncio.create_task(stream(tail_lines=0))
    while not client.messages:
        await asyncio.sleep(0.001)
    assert not node.calls
    await cluster.put(job(ID, "INITIALIZING", node="one", attempt=1))
    await cluster.put(RUNNING)
    while len(client.messages) < 2:
        await asyncio.sleep(0.001)
    await cluster.put(final(ID))
    await streaming
    # The log was empty when the client asked for its end.
    assert client.messages[0] == Response(start_offset=0, offset=0, next_offset=0)
    assert client.output == b"abcdef"


async def test_a_queued_job_has_no_offset(cluster: FakeCluster, stream: Stream) -> None:
    await cluster.put(job(ID, "QUEUED"))
    with pytest.raises(errors.OffsetOutOfRange):
        await stream(offset=1)


@pytest.mark.parametrize("fields", [{"offset": 3}, {"follow": False}])
async def test_output_seen_at_another_gateway_is_there_although_this_one_is_behind(
    cluster: FakeCluster, node: ScriptedNode, client: Client, stream: Stream, fields: dict[str, Any]
) -> None:
    await cluster.put(job(ID, "QUEUED"))
    cluster.engine.hidden[ID] = LiveJob(RUNNING)
    node.on("GetJobsStream", answer(chunk("def", 3), LOCAL_END))
    streaming = asyncio.create_task(stream(**fields))
    while not (client.messages or streaming.done()):
        await asyncio.sleep(0.001)
    await cluster.put(final(ID))
    await streaming
    assert client.output == b"def"


@pytest.mark.parametrize("follow", [True, False])
async def test_a_job_that_never_ran_has_only_a_result(
    cluster: FakeCluster, client: Client, stream: Stream, *, follow: bool
) -> None:
    ended = job(ID, "STOPPED")
    await cluster.put(ended)
    await stream(follow=follow)
    assert client.messages == [Response(result=ended)]


async def test_without_follow_a_queued_job_is_the_result(
    cluster: FakeCluster, client: Client, stream: Stream
) -> None:
    await cluster.put(job(ID, "QUEUED"))
    await stream(follow=False)
    assert client.messages[0].result.status == job_pb2.JOB_STATUS_QUEUED
    assert client.messages[0].result.queue_position == 1


async def test_without_follow_a_job_that_has_just_ended_has_the_record_of_the_cluster(
    cluster: FakeCluster, node: ScriptedNode, client: Client, stream: Stream
) -> None:
    await cluster.put(RUNNING)
    node.on("GetJobsStream", answer(chunk("abc", 0), LOCAL_END))
    streaming = asyncio.create_task(stream(follow=False))
    while not client.messages:
        await asyncio.sleep(0.001)
    await cluster.put(final(ID, "FAILED"))
    await streaming
    assert client.messages[-1].result == final(ID, "FAILED")


async def test_without_follow_a_job_is_not_final_before_the_cluster_says_so(
    cluster: FakeCluster,
    node: ScriptedNode,
    client: Client,
    stream: Stream,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("jobworker_gateway.relay._RECORD_SECONDS", 0.01, raising=False)
    await cluster.put(RUNNING)
    node.on("GetJobsStream", answer(chunk("abc", 0), LOCAL_END))
    await stream(follow=False)
    assert client.messages[-1].result == RUNNING


async def test_the_output_of_a_lost_job_that_cannot_be_read_is_reported_as_missing(
    cluster: FakeCluster, node: ScriptedNode, client: Client, stream: Stream
) -> None:
    await cluster.put(RUNNING)
    waiting = asyncio.Event()
    node.on("GetJobsStream", then_wait(waiting, chunk("abc", 0)))
    streaming = asyncio.create_task(stream())
    await waiting.wait()
    while not client.messages:
        await asyncio.sleep(0.001)
    await node.stop()
    lost = final(ID, "LOST", log_size=10)
    await cluster.put(lost)
    await streaming
    _, missing, result = client.messages
    assert (missing.truncated.from_offset, missing.truncated.to_offset) == (3, 10)
    assert missing.truncated.reason == "node one of the job is lost"
    assert result == Response(result=lost, offset=10, next_offset=10)


async def test_a_stream_of_a_lost_job_ends_although_its_node_still_runs_it(
    cluster: FakeCluster, node: ScriptedNode, client: Client, stream: Stream
) -> None:
    """Only the agent of the node is away."""
    await cluster.put(RUNNING)
    waiting = asyncio.Event()
    requests: list[Request] = []

    async def second(context: Context) -> None:
        data = await context.read()
        assert isinstance(data, bytes)
        requests.append(Request.FromString(data))
        await context.write(chunk("def", 3).SerializeToString())
        await context.write(Response(result=RUNNING, offset=6, next_offset=6).SerializeToString())

    node.on("GetJobsStream", then_wait(waiting, chunk("abc", 0)), second)
    streaming = asyncio.create_task(stream())
    await waiting.wait()
    while not client.messages:
        await asyncio.sleep(0.001)
    await cluster.put(final(ID, "LOST"))
    await asyncio.wait_for(streaming, 10)
    assert requests == [Request(id=ID, offset=3, follow=False)]
    assert client.output == b"abcdef"
    assert client.messages[-1] == Response(result=final(ID, "LOST"), offset=6, next_offset=6)


async def test_a_stream_ends_if_its_job_is_lost_while_the_node_accepts_it(
    cluster: FakeCluster, node: ScriptedNode, client: Client, stream: Stream
) -> None:
    await cluster.put(RUNNING)

    async def accept_late(context: Context) -> None:
        await context.read()
        await cluster.put(final(ID, "LOST"))
        await context.send_initial_metadata(())
        await asyncio.Event().wait()

    rest = Response(result=RUNNING, offset=3, next_offset=3)
    node.on("GetJobsStream", accept_late, answer(chunk("abc", 0), rest))
    await asyncio.wait_for(stream(), 10)
    assert client.output == b"abc"
    assert client.messages[-1].result == final(ID, "LOST")


async def test_a_client_that_leaves_ends_a_stream_that_waits(
    cluster: FakeCluster, node: ScriptedNode, client: Client, stream: Stream
) -> None:
    """The job is lost at the same moment."""
    await cluster.put(RUNNING)
    waiting = asyncio.Event()
    node.on("GetJobsStream", then_wait(waiting, chunk("abc", 0)))
    streaming = asyncio.create_task(stream())
    await waiting.wait()
    while not client.messages:
        await asyncio.sleep(0.001)
    await cluster.archive.add(ArchivedJob(final(ID, "LOST")))
    cluster.engine.jobs.put(LiveJob(final(ID, "LOST")))
    streaming.cancel()
    with pytest.raises(asyncio.CancelledError):
        await streaming


async def test_output_that_the_node_has_removed_is_reported_as_missing(
    cluster: FakeCluster, node: ScriptedNode, client: Client, stream: Stream
) -> None:
    await cluster.put(final(ID, log_size=10))
    node.on("GetJobsStream", fail(errors.JobNotFound(ID)))
    await stream(tail_bytes=4)
    start, missing, result = client.messages
    assert start.start_offset == 0
    assert missing.truncated.reason == "node one has removed the output"
    assert result.result == final(ID, log_size=10)


async def test_a_final_job_on_an_unreachable_node_is_an_error(
    cluster: FakeCluster, node: ScriptedNode, stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "_FINAL_OUTAGE_SECONDS", 0.3)
    await cluster.put(final(ID))
    await node.stop()
    with pytest.raises(errors.NodeUnreachable, match="node one"):
        await stream()


@pytest.mark.parametrize("knows_all_nodes", [True, False])
async def test_the_output_on_a_removed_node_is_reported_as_missing(
    cluster: FakeCluster,
    client: Client,
    stream: Stream,
    monkeypatch: pytest.MonkeyPatch,
    *,
    knows_all_nodes: bool,
) -> None:
    monkeypatch.setattr(relay, "_FINAL_OUTAGE_SECONDS", 0.3)
    await cluster.put(final(ID, log_size=10))
    cluster.engine.nodes.clear()
    cluster.engine.complete = knows_all_nodes
    if not knows_all_nodes:
        with pytest.raises(errors.NodeUnreachable, match="node one"):
            await stream()
        return
    await stream()
    missing, result = client.messages
    assert missing.truncated.reason == "node one is not in the cluster any more"
    assert result == Response(result=final(ID, log_size=10), offset=10, next_offset=10)


async def test_only_the_cluster_says_that_a_job_does_not_exist(
    cluster: FakeCluster, node: ScriptedNode, stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The node has lost the job, and its agent does not report that."""
    monkeypatch.setattr(relay, "_LIVE_OUTAGE_SECONDS", 0.3)
    await cluster.put(RUNNING)
    node.on("GetJobsStream", fail(errors.JobNotFound(ID)))
    with pytest.raises(errors.NodeUnreachable, match="it has no record of the job"):
        await stream()


async def test_a_node_that_accepts_streams_but_sends_nothing_is_an_error(
    cluster: FakeCluster, node: ScriptedNode, stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "_FINAL_OUTAGE_SECONDS", 0.3)
    await cluster.put(final(ID))
    node.on("GetJobsStream", answer())
    with pytest.raises(errors.NodeUnreachable, match="it ended the stream without a result"):
        await stream()
    assert len(node.calls) < 10


async def test_a_stream_is_opened_again_if_the_node_does_not_accept_it(
    cluster: FakeCluster,
    node: ScriptedNode,
    client: Client,
    stream: Stream,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(node_stream, "ACCEPT_SECONDS", 0.3, raising=False)
    await cluster.put(final(ID))
    node.on("GetJobsStream", hang, answer(chunk("abc", 0), LOCAL_END))
    await stream()
    assert client.output == b"abc"


async def test_a_node_that_accepts_no_stream_is_an_error(
    cluster: FakeCluster, node: ScriptedNode, stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_stream, "ACCEPT_SECONDS", 0.1, raising=False)
    monkeypatch.setattr(relay, "_FINAL_OUTAGE_SECONDS", 0.3)
    await cluster.put(final(ID))
    node.on("GetJobsStream", hang)
    with pytest.raises(errors.NodeUnreachable, match="it did not accept the call within"):
        await stream()


async def test_a_job_that_starts_again_ends_a_stream_with_output(
    cluster: FakeCluster, node: ScriptedNode, client: Client, stream: Stream
) -> None:
    await cluster.put(RUNNING, attempt="first")
    waiting = asyncio.Event()
    node.on("GetJobsStream", then_wait(waiting, chunk("abc", 0)))
    streaming = asyncio.create_task(stream())
    await waiting.wait()
    while not client.messages:
        await asyncio.sleep(0.001)
    await node.stop()
    await cluster.put(job(ID, "QUEUED", attempt=2), attempt="second")
    with pytest.raises(errors.OffsetOutOfRange) as caught:
        await streaming
    assert (caught.value.offset, caught.value.log_size) == (3, 0)


async def test_a_job_that_starts_again_before_any_output_goes_on(
    cluster: FakeCluster, node: ScriptedNode, client: Client, stream: Stream
) -> None:
    await cluster.put(RUNNING, attempt="first")
    evicted = Response(result=job(ID, "STOPPED"), offset=0, next_offset=0)
    node.on("GetJobsStream", answer(evicted), answer(chunk("abcdef", 0), LOCAL_END))
    streaming = asyncio.create_task(stream())
    while not node.calls:
        await asyncio.sleep(0.001)
    await cluster.put(job(ID, "QUEUED", attempt=2), attempt="second")
    await cluster.put(job(ID, node="one", attempt=2), attempt="second")
    while not client.messages:
        await asyncio.sleep(0.001)
    await cluster.put(final(ID, attempt=2))
    await streaming
    assert client.output == b"abcdef"
    assert client.messages[-1].result == final(ID, attempt=2)


async def test_a_client_that_leaves_ends_the_call_to_the_node(
    cluster: FakeCluster, node: ScriptedNode, stream: Stream
) -> None:
    await cluster.put(RUNNING)
    begun, ended = asyncio.Event(), asyncio.Event()

    async def script(context: Context) -> None:
        await answer(chunk("abc", 0))(context)
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    node.on("GetJobsStream", script)
    streaming = asyncio.create_task(stream())
    await begun.wait()
    streaming.cancel()
    with pytest.raises(asyncio.CancelledError):
        await streaming
    await ended.wait()
