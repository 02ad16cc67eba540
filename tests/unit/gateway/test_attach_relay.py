"""AttachJob through a gateway."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from grpc import aio

from cluster_jobs import ALICE, final, job, job_id
from fake_cluster import FakeCluster
from gateway_calls import Call, service_of
from jobworker.v1 import job_attach_pb2, job_output_pb2, job_service_pb2
from jobworker_gateway import node_stream
from jobworker_gateway.job_table import LiveJob
from jobworker_gateway.node_connections import NodeConnections
from jobworker_gateway.node_errors import NodeError
from jobworkerd import errors
from scripted_node import Context, ScriptedNode, answer, fail, hang

ID = job_id(0)
RUNNING = job(ID, node="one", attempt=1)
Request = job_service_pb2.AttachJobRequest
Response = job_service_pb2.AttachJobResponse
Output = job_service_pb2.GetJobsStreamResponse


def start(**fields: Any) -> Request:
    return Request(start=job_attach_pb2.AttachStart(id=ID, input_id="i", **fields))


def send(text: str) -> Request:
    return Request(input=job_attach_pb2.InputChunk(data=text.encode()))


def payload(text: str) -> Response:
    return Response(output=Output(payload=text.encode(), next_offset=len(text)))


LOCAL_END = Response(output=Output(result=job(ID, "COMPLETED"), offset=3, next_offset=3))


class Client:
    """A client that attaches."""

    def __init__(self, cluster: FakeCluster, nodes: NodeConnections, open_: AsyncExitStack) -> None:
        self._service = service_of(cluster.jobs, nodes)
        self._open = open_

    async def attach(self, *requests: Request) -> None:
        """Begin a call, and wait until it is accepted."""
        self.call = Call(*requests)
        opening = self._service.AttachJob(object(), self.call.context)
        self.running = asyncio.ensure_future((await self._open.enter_async_context(opening))())
        self._open.callback(self.running.cancel)

    async def next(self) -> Response:
        """Return the next message."""
        return Response.FromString(await asyncio.wait_for(self.call.responses.get(), 5))


@pytest.fixture
async def client(cluster: FakeCluster, nodes: NodeConnections) -> AsyncIterator[Client]:
    """A client."""
    async with AsyncExitStack() as open_:
        yield Client(cluster, nodes, open_)


async def echo(context: Context) -> None:
    """Send each input back as output, and end after `detach`."""
    await context.read()
    await context.send_initial_metadata(())
    while isinstance(data := await context.read(), bytes):
        message = Request.FromString(data)
        if message.HasField("detach"):
            return
        await context.write(payload(message.input.data.decode()).SerializeToString())


async def test_only_the_cluster_says_that_a_job_does_not_exist(
    cluster: FakeCluster, node: ScriptedNode, client: Client
) -> None:
    await cluster.put(RUNNING)
    node.on("AttachJob", fail(errors.JobNotFound(ID)))
    with pytest.raises(errors.NodeUnreachable, match="it has no record of the job"):
        await client.attach(start())


async def test_a_node_that_removes_a_running_job_does_not_say_that_it_does_not_exist(
    cluster: FakeCluster, node: ScriptedNode, client: Client
) -> None:
    await cluster.put(RUNNING)
    node.on("AttachJob", fail(errors.JobNotFound(ID), payload("abc")))
    await client.attach(start())
    assert await client.next() == payload("abc")
    with pytest.raises(errors.NodeUnreachable, match="it has no record of the job"):
        await client.running


async def test_messages_pass_in_both_directions_until_the_client_detaches(
    cluster: FakeCluster, node: ScriptedNode, client: Client
) -> None:
    await cluster.put(RUNNING)
    node.on("AttachJob", echo)
    await client.attach(start(), send("abc"))
    assert await client.next() == payload("abc")
    client.call.send(send("def"), Request(detach=job_attach_pb2.Detach()))
    assert await client.next() == payload("def")
    await client.running
    assert node.calls == [("AttachJob", ALICE)]


async def test_the_result_is_the_record_of_the_cluster(
    cluster: FakeCluster, node: ScriptedNode, client: Client
) -> None:
    await cluster.put(RUNNING)
    node.on("AttachJob", answer(payload("abc"), LOCAL_END))
    await client.attach(start())
    assert await client.next() == payload("abc")
    await cluster.put(final(ID))
    assert await client.next() == Response(output=Output(result=final(ID), offset=3, next_offset=3))
    await client.running


async def test_the_end_of_the_clients_messages_reaches_the_node(
    cluster: FakeCluster, node: ScriptedNode, client: Client
) -> None:
    await cluster.put(RUNNING)
    node.on("AttachJob", echo)
    await client.attach(start())
    client.call.end()
    await client.running


async def test_an_error_of_the_node_passes_unchanged(
    cluster: FakeCluster, node: ScriptedNode, client: Client
) -> None:
    await cluster.put(RUNNING)
    node.on("AttachJob", fail(errors.StdinInUse(ID), payload("abc")))
    await client.attach(start())
    assert await client.next() == payload("abc")
    with pytest.raises(NodeError) as caught:
        await client.running
    assert caught.value.status.details == str(errors.StdinInUse(ID))


async def test_a_node_that_does_not_accept_the_call_is_an_error(
    cluster: FakeCluster, node: ScriptedNode, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_stream, "ACCEPT_SECONDS", 0.1, raising=False)
    await cluster.put(RUNNING)
    node.on("AttachJob", hang)
    with pytest.raises(errors.NodeUnreachable, match="it did not accept the call within"):
        await client.attach(start())


async def test_a_broken_connection_ends_the_call(
    cluster: FakeCluster, node: ScriptedNode, client: Client
) -> None:
    await cluster.put(RUNNING)
    node.on("AttachJob", echo)
    await client.attach(start(), send("abc"))
    await client.next()
    await node.stop()
    with pytest.raises(errors.NodeUnreachable):
        await client.running


async def test_a_message_that_is_not_accepted_ends_the_call(
    cluster: FakeCluster, node: ScriptedNode, client: Client
) -> None:
    await cluster.put(RUNNING)
    node.on("AttachJob", echo)
    await client.attach(start())
    client.call.requests.put_nowait(errors.MessageTooLarge(5, 4))
    with pytest.raises(errors.MessageTooLarge):
        await client.running


async def test_a_client_can_wait_for_a_queued_job(
    cluster: FakeCluster, node: ScriptedNode, client: Client
) -> None:
    await cluster.put(job(ID, "QUEUED"))
    starts = []

    async def script(context: Context) -> None:
        data = await context.read()
        assert isinstance(data, bytes)
        starts.append(Request.FromString(data).start)
        await answer_input(context)

    async def answer_input(context: Context) -> None:
        await context.write(payload("abc").SerializeToString())
        await context.write(LOCAL_END.SerializeToString())

    node.on("AttachJob", script)
    size = job_attach_pb2.TerminalSize(columns=100, rows=30)
    await client.attach(start(tail_bytes=0), Request(resize=size))
    first = await client.next()
    assert first.output.WhichOneof("kind") == "start_offset"
    await cluster.put(RUNNING)
    assert await client.next() == payload("abc")
    await cluster.put(final(ID))
    assert (await client.next()).output.result == final(ID)
    await client.running
    # The node gets the size that the terminal has now, and sends the output from its begin.
    assert starts == [job_attach_pb2.AttachStart(id=ID, input_id="i", size=size)]


async def test_a_resize_while_the_job_starts_is_not_lost(
    cluster: FakeCluster, node: ScriptedNode, client: Client
) -> None:
    await cluster.put(job(ID, "QUEUED"))
    begun, accepts = asyncio.Event(), asyncio.Event()
    received: list[Request] = []

    async def script(context: Context) -> None:
        await context.read()
        begun.set()
        await accepts.wait()
        await context.send_initial_metadata(())
        data = await context.read()
        assert isinstance(data, bytes)
        received.append(Request.FromString(data))
        end: object = await context.read()
        assert end is aio.EOF
        await context.write(payload("abc").SerializeToString())

    node.on("AttachJob", script)
    await client.attach(start())
    await cluster.put(RUNNING)
    await begun.wait()
    resize = Request(resize=job_attach_pb2.TerminalSize(columns=72, rows=19))
    client.call.send(resize)
    client.call.end()
    while client.call.requests.qsize() > 1:  # until the resize is read
        await asyncio.sleep(0)
    accepts.set()
    assert await client.next() == payload("abc")
    assert received == [resize]


async def test_a_client_can_detach_from_a_queued_job(
    cluster: FakeCluster, node: ScriptedNode, client: Client
) -> None:
    await cluster.put(job(ID, "QUEUED"))
    await client.attach(start(), Request(detach=job_attach_pb2.Detach()))
    await client.running
    assert not node.calls


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (send("abc"), errors.InvalidRequest),
        (start(), errors.InvalidRequest),
        (Request(signal=job_attach_pb2.JobSignal(name="INT")), errors.JobNotRunning),
    ],
)
async def test_a_queued_job_takes_no_input_and_no_signal(
    cluster: FakeCluster, client: Client, message: Request, error: type[Exception]
) -> None:
    await cluster.put(job(ID, "QUEUED"))
    await client.attach(start(), message)
    with pytest.raises(error):
        await client.running


@pytest.mark.parametrize("fields", [{}, {"offset": 3}])
async def test_a_job_that_runs_takes_input_although_this_gateway_is_behind(
    cluster: FakeCluster, node: ScriptedNode, client: Client, fields: dict[str, int]
) -> None:
    await cluster.put(job(ID, "QUEUED"))
    cluster.engine.hidden[ID] = LiveJob(RUNNING)
    node.on("AttachJob", echo)
    await client.attach(start(**fields), send("abc"))
    assert await client.next() == payload("abc")


async def test_a_job_that_never_ran_has_only_a_result(cluster: FakeCluster, client: Client) -> None:
    await cluster.put(job(ID, "STOPPED"))
    await client.attach(start())
    assert (await client.next()).output.result == job(ID, "STOPPED")
    await client.running


@pytest.mark.parametrize(
    ("fields", "begin", "first"),
    [
        ({}, 0, []),
        ({"offset": 4}, 4, []),
        ({"tail_bytes": 3}, 0, [Response(output=Output(start_offset=0))]),
    ],
)
async def test_output_that_the_node_has_removed_is_reported_as_missing(
    cluster: FakeCluster,
    node: ScriptedNode,
    client: Client,
    fields: dict[str, int],
    begin: int,
    first: list[Response],
) -> None:
    ended = final(ID, log_size=10)
    await cluster.put(ended)
    node.on("AttachJob", fail(errors.JobNotFound(ID)))
    await client.attach(start(**fields), send("abc"))
    why = "node one has removed the output"
    missing = job_output_pb2.TruncatedRange(from_offset=begin, to_offset=10, reason=why)
    assert [await client.next() for _ in range(2 + len(first))] == [
        *first,
        Response(output=Output(truncated=missing, offset=begin, next_offset=10)),
        Response(output=Output(result=ended, offset=10, next_offset=10)),
    ]
    await client.running


async def test_the_output_of_a_lost_job_on_an_unreachable_node_is_reported_as_missing(
    cluster: FakeCluster, node: ScriptedNode, client: Client
) -> None:
    lost = final(ID, "LOST", log_size=10)
    await cluster.put(lost)
    await node.stop()
    await client.attach(start())
    assert (await client.next()).output.truncated.reason == "node one of the job is lost"
    assert (await client.next()).output.result == lost
    await client.running


async def test_a_client_that_leaves_ends_the_call_to_the_node(
    cluster: FakeCluster, node: ScriptedNode, client: Client
) -> None:
    await cluster.put(RUNNING)
    ended = asyncio.Event()

    async def script(context: Context) -> None:
        try:
            await echo(context)
        finally:
            ended.set()

    node.on("AttachJob", script)
    await client.attach(start(), send("abc"))
    await client.next()
    client.running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await client.running
    await ended.wait()


async def test_a_job_that_starts_again_ends_the_call(
    cluster: FakeCluster, node: ScriptedNode, client: Client
) -> None:
    await cluster.put(RUNNING, attempt="first")
    node.on("AttachJob", answer(payload("abc"), LOCAL_END))
    await client.attach(start())
    await client.next()
    await cluster.put(job(ID, "QUEUED", attempt=2), attempt="second")
    with pytest.raises(errors.NodeUnreachable, match="the job starts again"):
        await client.running
