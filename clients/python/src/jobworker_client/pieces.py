"""The parts of a message that holds output of several times, or of both of a job's streams.

The server sends a reader that is behind as much as fits into a message. `span_bytes`, `span_offset_usec`
and `source_run_bytes` say of which parts it consists.
"""

from collections.abc import Iterator
from itertools import accumulate, cycle, zip_longest
from typing import NamedTuple, TypeAlias

from google.protobuf.timestamp_pb2 import Timestamp

from jobworker.v1 import job_service_pb2

__all__ = ["Chunk", "Part", "end_of", "log_bytes", "parts", "pieces", "runs"]

Chunk = job_service_pb2.GetJobsStreamResponse
Source: TypeAlias = "job_service_pb2.OutputSource.ValueType"

# The job's other stream.
OTHER: dict[Source, Source] = {
    job_service_pb2.OUTPUT_SOURCE_STDOUT: job_service_pb2.OUTPUT_SOURCE_STDERR,
    job_service_pb2.OUTPUT_SOURCE_STDERR: job_service_pb2.OUTPUT_SOURCE_STDOUT,
}


class Part(NamedTuple):
    """A part of a chunk: output of one source and, to 10 ms, one time."""

    offset: int
    source: Source
    time: Timestamp
    data: bytes


def parts(chunk: Chunk) -> Iterator[Part]:
    """Yields the parts of a chunk in order; cheaper than `pieces`."""
    payload, taken, begin, first = chunk.payload, 0, 0, chunk.source
    skips, spans, offset = _skips(chunk), _spans(chunk), chunk.offset
    span_end, time = next(spans)
    for run_end, source in _sources(chunk):
        while begin < run_end:
            end = min(span_end, run_end)
            if not skips or source == first:
                yield Part(offset + begin, source, time, payload[taken : (taken := taken + end - begin)])
            begin = end
            if end == span_end:
                span_end, time = next(spans, (0, time))


def pieces(chunk: Chunk) -> Iterator[Chunk]:
    """Yields the parts of a chunk in order, as chunks."""
    if not chunk.span_bytes and not chunk.source_run_bytes:
        yield chunk
        return
    for part in parts(chunk):
        yield Chunk(payload=part.data, offset=part.offset, source=part.source, time=part.time)


def runs(chunk: Chunk) -> Iterator[tuple[Source, bytes]]:
    """Yields the output of a chunk in order, as long as the job wrote to one of its streams."""
    payload, begin = chunk.payload, 0
    if _skips(chunk):
        yield chunk.source, payload
        return
    for end, source in _sources(chunk):
        yield source, payload[begin:end]
        begin = end


def end_of(chunk: Chunk) -> int:
    """Returns the offset behind the output that a chunk tells of."""
    return chunk.offset + (sum(chunk.source_run_bytes) or len(chunk.payload))


def log_bytes(chunk: Chunk, count: int) -> int:
    """Returns how many bytes of the log are dealt with when so many of the payload are."""
    if not count or not _skips(chunk):
        return count
    lengths, found = iter(chunk.source_run_bytes), 0
    for wanted, skipped in zip_longest(lengths, lengths, fillvalue=0):
        if count < wanted:
            return found + count
        count, found = count - wanted, found + wanted + skipped
    return found


def _skips(chunk: Chunk) -> bool:
    """Tells whether the runs of the job's other stream are left out: the request asked for one source."""
    return end_of(chunk) > chunk.offset + len(chunk.payload)


def _sources(chunk: Chunk) -> Iterator[tuple[int, Source]]:
    """Yields where each run ends, and its source."""
    if not chunk.source_run_bytes:
        return iter([(len(chunk.payload), chunk.source)])
    return zip(accumulate(chunk.source_run_bytes), cycle((chunk.source, OTHER[chunk.source])), strict=False)


def _spans(chunk: Chunk) -> Iterator[tuple[int, Timestamp]]:
    """Yields where each span ends, and its time."""
    if not chunk.span_bytes:
        yield end_of(chunk) - chunk.offset, chunk.time
        return
    first = chunk.time.ToNanoseconds()
    for end, usec in zip(accumulate(chunk.span_bytes), chunk.span_offset_usec, strict=True):
        time = Timestamp()
        time.FromNanoseconds(first + usec * 1_000)
        yield end, time
