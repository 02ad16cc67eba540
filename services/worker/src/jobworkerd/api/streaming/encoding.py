"""Encodes pieces of a log as serialized GetJobsStreamResponse messages, which readers share."""

from types import MappingProxyType
from typing import NamedTuple

from jobworker.v1 import job_output_pb2, job_service_pb2
from jobworkerd.logs.cursor import Chunk, Gap
from jobworkerd.rpc_server import convert
from jobworkerd.rpc_server.wire import field

Response = job_service_pb2.GetJobsStreamResponse

_SOURCE_NUMBERS = MappingProxyType({source: number for number, source in convert.SOURCES.items()})


class Encoded(NamedTuple):
    """A serialized message, and the start and end offsets of its piece in the log."""

    data: bytes
    offset: int
    end: int


def encode(piece: Chunk | Gap) -> Encoded:
    """Return the message for a piece of a log."""
    if isinstance(piece, Gap):
        truncated = job_output_pb2.TruncatedRange(
            from_offset=piece.offset, to_offset=piece.end, reason=piece.reason
        )
        message = Response(truncated=truncated, offset=piece.offset, next_offset=piece.end)
        return Encoded(message.SerializeToString(), piece.offset, piece.end)
    return Encoded(_with_payload(piece), piece.offset, piece.end)


def _with_payload(chunk: Chunk) -> bytes:
    """Add the payload to the serialized fields. protobuf would copy the payload twice.

    Fields can have any order (https://protobuf.dev/programming-guides/encoding/).
    """
    rest = Response(
        offset=chunk.offset,
        next_offset=chunk.end,
        source=_SOURCE_NUMBERS[chunk.source],
        time=convert.timestamp(chunk.time_ns),
        span_bytes=chunk.span_bytes,
        span_offset_usec=chunk.span_usec,
        source_run_bytes=chunk.run_bytes,
    ).SerializeToString()
    return field(Response.PAYLOAD_FIELD_NUMBER, chunk.data, rest)
