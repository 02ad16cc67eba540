"""Messages are encoded once, and readers share them."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobworker.v1 import job_output_pb2, job_service_pb2
from jobworkerd.api.streaming import log_reader
from jobworkerd.api.streaming.encoding import Encoded, encode
from jobworkerd.api.streaming.log_reader import LogReader
from jobworkerd.api.streaming.message_cache import MessageCache, Range, Sources
from jobworkerd.logs.cursor import Chunk, Gap
from jobworkerd.logs.writer import LogWriter
from jobworkerd.model import OutputSource

OUT, ERR = OutputSource.STDOUT, OutputSource.STDERR
Response = job_service_pb2.GetJobsStreamResponse
RUN = ("job", "request")


@given(st.binary(max_size=70_000), st.integers(0, 2**62), st.sampled_from([OUT, ERR]))
def test_protobuf_decodes_the_encoded_message(data: bytes, offset: int, source: OutputSource) -> None:
    encoded = encode(Chunk(offset, source, 1_000_000_005, data))
    message = Response.FromString(encoded.data)
    assert (message.payload, message.offset, int(message.source)) == (data, offset, int(source))
    assert message.time.ToNanoseconds() == 1_000_000_005
    assert (encoded.offset, encoded.end) == (offset, offset + len(data))
    assert (message.WhichOneof("kind"), message.next_offset) == ("payload", encoded.end)


def test_a_gap_is_a_truncated_range_with_a_reason() -> None:
    message = Response.FromString(encode(Gap(3, 9, "why")).data)
    truncated = job_output_pb2.TruncatedRange(from_offset=3, to_offset=9, reason="why")
    assert message == Response(truncated=truncated, offset=3, next_offset=9)


def range_at(offset: int) -> Range:
    return Range(RUN, offset, offset + 1, Sources())


def test_the_cache_keeps_the_most_recently_used_messages() -> None:
    message = Encoded(bytes(1000), 0, 1000)
    cache = MessageCache(4 * 1600)
    for offset in range(4):
        cache.put(range_at(offset), message)
    assert cache.get(range_at(0)) is message
    cache.put(range_at(4), message)
    assert [cache.get(range_at(offset)) is not None for offset in range(5)] == [True, False, True, True, True]
    cache.put(range_at(5), Encoded(bytes(100_000), 0, 100_000))
    assert [cache.get(range_at(offset)) for offset in range(6)] == [None] * 6


def read_all(reader: LogReader, end: int) -> list[Encoded]:
    found = []
    with reader:
        while reader.offset < end:
            message = reader.read(end, 4096)
            if message is not None:
                found.append(message)
    return found


def test_readers_from_different_offsets_share_all_but_the_first_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = LogWriter.create(tmp_path)
    for number in range(500):
        writer.append(OUT, memoryview(b"%099d\n" % number), number)
    encoded: list[Chunk | Gap] = []

    def counted(piece: Chunk | Gap) -> Encoded:
        encoded.append(piece)
        return encode(piece)

    monkeypatch.setattr(log_reader, "encode", counted)
    cache = MessageCache(1 << 20)
    first = read_all(LogReader(RUN, tmp_path, cache, 0, Sources()), writer.size)
    assert len(encoded) == len(first)
    second = read_all(LogReader(RUN, tmp_path, cache, 5_000, Sources()), writer.size)
    assert len(encoded) == len(first) + 1
    assert all(message in first for message in second[1:])
    assert (
        b"".join(Response.FromString(message.data).payload for message in second)
        == b"".join(b"%099d\n" % number for number in range(500))[5_000:]
    )
    other = read_all(LogReader(("other", ""), tmp_path, cache, 0, Sources()), writer.size)
    assert len(encoded) == 2 * len(first) + 1 == len(other) + len(first) + 1
    writer.close()


def test_readers_with_the_same_source_filter_share_messages(tmp_path: Path) -> None:
    writer = LogWriter.create(tmp_path)
    for number in range(100):
        writer.append(OutputSource(1 + number % 2), memoryview(b"%d\n" % (number % 2)), number)
    cache = MessageCache(1 << 20)
    for source, expected in ((OUT, b"0\n"), (ERR, b"1\n"), (OUT, b"0\n")):
        messages = read_all(LogReader(RUN, tmp_path, cache, 0, Sources(source)), writer.size)
        assert b"".join(Response.FromString(each.data).payload for each in messages) == expected * 50
    writer.close()
