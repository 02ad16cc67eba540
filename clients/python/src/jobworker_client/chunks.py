"""Split messages that hold output of several times, or of both stdout and stderr.

The server sends a reader that is behind as much output as fits into a message. `span_bytes`,
`span_offset_usec` and `source_run_bytes` describe its parts.
"""

from collections.abc import Iterator
from itertools import accumulate, cycle, zip_longest
from typing import NamedTuple, TypeAlias

from google.protobuf.timestamp_pb2 import Timestamp

from jobworker.v1 import job_output_pb2, job_service_pb2

__all__ = ["Chunk", "Segment", "log_bytes", "segments", "source_runs", "split_chunk"]

Chunk = job_service_pb2.GetJobsStreamResponse
Source: TypeAlias = "job_output_pb2.OutputSource.ValueType"

OTHER_SOURCE: dict[Source, Source] = {
    job_output_pb2.OUTPUT_SOURCE_STDOUT: job_output_pb2.OUTPUT_SOURCE_STDERR,
    job_output_pb2.OUTPUT_SOURCE_STDERR: job_output_pb2.OUTPUT_SOURCE_STDOUT,
}


class Segment(NamedTuple):
    """Output of one source and one time (within 10 ms)."""

    offset: int
    source: Source
    time: Timestamp
    data: bytes


def segments(chunk: Chunk) -> Iterator[Segment]:
    """Yield the segments of a chunk in log order; cheaper than `split_chunk`."""
    payload, taken, begin, first = chunk.payload, 0, 0, chunk.source
    skips, spans, offset = _skips_other_source(chunk), _spans(chunk), chunk.offset
    span_end, time = next(spans)
    for run_end, source in _run_ends(chunk):
        while begin < run_end:
            end = min(span_end, run_end)
            if not skips or source == first:
                yield Segment(offset + begin, source, time, payload[taken : (taken := taken + end - begin)])
            begin = end
            if end == span_end:
                span_end, time = next(spans, (0, time))


def split_chunk(chunk: Chunk) -> Iterator[Chunk]:
    """Yield chunks of one source and one time each, in log order."""
    if not chunk.span_bytes and not chunk.source_run_bytes:
        yield chunk
        return
    for part in segments(chunk):
        end = part.offset + len(part.data)
        yield Chunk(
            payload=part.data, offset=part.offset, next_offset=end, source=part.source, time=part.time
        )


def source_runs(chunk: Chunk) -> Iterator[tuple[Source, bytes]]:
    """Yield the source and the bytes of each run of output of one source, in log order."""
    payload, begin = chunk.payload, 0
    if _skips_other_source(chunk):
        yield chunk.source, payload
        return
    for end, source in _run_ends(chunk):
        yield source, payload[begin:end]
        begin = end


def log_bytes(chunk: Chunk, count: int) -> int:
    """Return the number of log bytes that the first `count` bytes of the payload cover."""
    if not count or not _skips_other_source(chunk):
        return count
    lengths, covered = iter(chunk.source_run_bytes), 0
    for sent, skipped in zip_longest(lengths, lengths, fillvalue=0):
        if count < sent:
            return covered + count
        count, covered = count - sent, covered + sent + skipped
    return covered


def _skips_other_source(chunk: Chunk) -> bool:
    """Tell whether the payload omits the runs of one source because the request named the other."""
    return chunk.next_offset > chunk.offset + len(chunk.payload)


def _run_ends(chunk: Chunk) -> Iterator[tuple[int, Source]]:
    """Yield the end, relative to the chunk, and the source of each run."""
    if not chunk.source_run_bytes:
        return iter([(len(chunk.payload), chunk.source)])
    sources = cycle((chunk.source, OTHER_SOURCE[chunk.source]))
    return zip(accumulate(chunk.source_run_bytes), sources, strict=False)


def _spans(chunk: Chunk) -> Iterator[tuple[int, Timestamp]]:
    """Yield the end, relative to the chunk, and the time of each span."""
    if not chunk.span_bytes:
        yield chunk.next_offset - chunk.offset, chunk.time
        return
    first = chunk.time.ToNanoseconds()
    for end, usec in zip(accumulate(chunk.span_bytes), chunk.span_offset_usec, strict=True):
        time = Timestamp()
        time.FromNanoseconds(first + usec * 1_000)
        yield end, time
