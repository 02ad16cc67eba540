"""Encodes pieces of a log as serialized GetJobsStreamResponse messages, which readers share."""

from types import MappingProxyType
from typing import NamedTuple

from jobworker.v1 import job_output_pb2, job_service_pb2
from jobworkerd.api import convert
from jobworkerd.logs.cursor import Chunk, Gap

Response = job_service_pb2.GetJobsStreamResponse

_SOURCE_NUMBERS = MappingProxyType({source: number for number, source in convert.SOURCES.items()})

_LENGTH_DELIMITED = 2


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


def field(number: int, value: bytes, rest: bytes = b"") -> bytes:
    """Return a field with a message, a string or bytes as its value, followed by other fields."""
    return b"".join((_varint(number << 3 | _LENGTH_DELIMITED), _varint(len(value)), value, rest))


def _varint(value: int) -> bytes:
    """Return a varint: seven bits per byte, lowest first; the top bit is set in all but the last byte."""
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)
