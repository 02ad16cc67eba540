"""The spans of final jobs between the supervisor and an API process."""

from jobworkerd.model import Job
from sample_jobs import FINAL
from tests.unit.protocol.socket_pair import Pair, until


async def test_a_process_gets_spans_and_acknowledges_them(pair: Pair) -> None:
    found: list[Job] = []
    await pair.client.ready(found.append)
    spans = pair.table.spans
    assert spans.calls == [("connected", True)]
    assert spans.send
    spans.send(FINAL)
    await until(lambda: found == [FINAL])
    pair.client.acknowledge_spans(["a"])
    await until(lambda: spans.calls[1:] == [("exported", ("a",))])


async def test_a_process_without_an_exporter_says_so(pair: Pair) -> None:
    await pair.client.ready()
    assert pair.table.spans.calls == [("connected", False)]


async def test_the_end_of_a_process_is_reported(pair: Pair) -> None:
    await pair.client.ready(lambda _: None)
    assert pair.client._transport
    pair.client._transport.abort()
    await until(lambda: pair.table.spans.calls[1:] == [("disconnected", True)])
