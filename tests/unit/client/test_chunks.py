"""Tests of splitting messages with several times and sources."""

from collections.abc import Sequence
from typing import TypeAlias

from hypothesis import given
from hypothesis import strategies as st

from jobworker.v1 import job_output_pb2
from jobworker_client import Chunk, source_runs, split_chunk
from jobworker_client.chunks import log_bytes

OUT, ERR = job_output_pb2.OUTPUT_SOURCE_STDOUT, job_output_pb2.OUTPUT_SOURCE_STDERR

Record: TypeAlias = "tuple[bytes, job_output_pb2.OutputSource.ValueType, int]"
"""Data, its source, and the seconds since the previous record."""

records = st.lists(
    st.tuples(st.binary(min_size=1, max_size=5), st.sampled_from([OUT, ERR]), st.integers(0, 3)), min_size=1
)


def run_lengths(keys: Sequence[int]) -> list[int]:
    """Return the lengths of runs of equal keys; empty for a single run, as the server does."""
    lengths = [0]
    for number, key in enumerate(keys):
        if number and key != keys[number - 1]:
            lengths.append(0)
        lengths[-1] += 1
    return lengths if len(lengths) > 1 else []


@given(records)
def test_split_keeps_source_and_time_of_each_byte(written: list[Record]) -> None:
    payload = b"".join(data for data, _, _ in written)
    sources = [source for data, source, _ in written for _ in data]
    times, now = [], 0
    for data, _, elapsed in written:
        now += elapsed
        times += [now] * len(data)
    message = Chunk(payload=payload, offset=7, next_offset=7 + len(payload), source=sources[0])
    message.source_run_bytes.extend(run_lengths(sources))
    message.time.FromSeconds(50 + times[0])
    message.span_bytes.extend(run_lengths(times))
    if message.span_bytes:
        message.span_offset_usec.extend((time - times[0]) * 1_000_000 for time in dict.fromkeys(times))
    chunks = list(split_chunk(message))
    assert b"".join(chunk.payload for chunk in chunks) == payload
    assert [chunk.source for chunk in chunks for _ in chunk.payload] == sources
    assert [chunk.time.seconds - 50 for chunk in chunks for _ in chunk.payload] == times
    assert [chunk.offset for chunk in chunks] == [
        7 + sum(len(chunk.payload) for chunk in chunks[:number]) for number in range(len(chunks))
    ]
    assert [(source, byte) for source, data in source_runs(message) for byte in data] == list(
        zip(sources, payload, strict=True)
    )
    assert len(list(source_runs(message))) == max(1, len(run_lengths(sources)))


@given(records)
def test_split_keeps_offsets_when_the_other_source_is_left_out(written: list[Record]) -> None:
    payload = b"".join(data for data, _, _ in written)
    sources = [source for data, source, _ in written for _ in data]
    kept = [index for index, source in enumerate(sources) if source == sources[0]]
    message = Chunk(offset=7, next_offset=7 + len(payload), source=sources[0])
    message.payload = bytes(payload[index] for index in kept)
    message.source_run_bytes.extend(run_lengths(sources))
    chunks = list(split_chunk(message))
    offsets = [chunk.offset + index for chunk in chunks for index in range(len(chunk.payload))]
    assert offsets == [7 + index for index in kept]
    assert b"".join(chunk.payload for chunk in chunks) == message.payload
    assert {chunk.source for chunk in chunks} == {sources[0]}
    assert all(chunk.next_offset == chunk.offset + len(chunk.payload) for chunk in chunks)
    for count in range(len(kept)):
        assert log_bytes(message, count) in {kept[count], kept[count - 1] + 1 if count else 0}
    assert log_bytes(message, len(kept)) == len(payload)
    assert list(source_runs(message)) == [(sources[0], message.payload)]


def test_message_of_one_source_and_one_time_is_one_chunk() -> None:
    message = Chunk(payload=b"abc", offset=1, next_offset=4, source=ERR)
    assert list(split_chunk(message)) == [message]
    assert list(source_runs(message)) == [(ERR, b"abc")]
