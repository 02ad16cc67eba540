"""A message of several times and sources, taken apart."""

from collections.abc import Sequence
from typing import TypeAlias

from hypothesis import given
from hypothesis import strategies as st

from jobworker.v1 import job_service_pb2
from jobworker_client import Chunk, pieces, runs
from jobworker_client.pieces import end_of, log_bytes

OUT, ERR = job_service_pb2.OUTPUT_SOURCE_STDOUT, job_service_pb2.OUTPUT_SOURCE_STDERR

Written: TypeAlias = "tuple[bytes, job_service_pb2.OutputSource.ValueType, int]"

records = st.lists(
    st.tuples(st.binary(min_size=1, max_size=5), st.sampled_from([OUT, ERR]), st.integers(0, 3)), min_size=1
)


def lengths(keys: Sequence[int]) -> list[int]:
    """Returns how long each run of equal keys is; nothing for one run, as the server does."""
    found = [0]
    for number, key in enumerate(keys):
        if number and key != keys[number - 1]:
            found.append(0)
        found[-1] += 1
    return found if len(found) > 1 else []


@given(records)
def test_every_byte_keeps_its_source_and_its_time(
    written: list[Written],
) -> None:
    payload = b"".join(data for data, _, _ in written)
    sources = [source for data, source, _ in written for _ in data]
    slots, now = [], 0
    for data, _, pause in written:
        now += pause
        slots += [now] * len(data)
    message = Chunk(payload=payload, offset=7, source=sources[0], source_run_bytes=lengths(sources))
    message.time.FromSeconds(50 + slots[0])
    message.span_bytes.extend(lengths(slots))
    if message.span_bytes:
        message.span_offset_usec.extend((slot - slots[0]) * 1_000_000 for slot in dict.fromkeys(slots))
    found = list(pieces(message))
    assert b"".join(piece.payload for piece in found) == payload
    assert [piece.source for piece in found for _ in piece.payload] == sources
    assert [piece.time.seconds - 50 for piece in found for _ in piece.payload] == slots
    assert [piece.offset for piece in found] == [
        7 + sum(len(piece.payload) for piece in found[:number]) for number in range(len(found))
    ]
    assert [(source, byte) for source, data in runs(message) for byte in data] == list(
        zip(sources, payload, strict=True)
    )
    assert len(list(runs(message))) == max(1, len(lengths(sources)))


@given(records)
def test_of_one_source_every_byte_keeps_its_offset(written: list[Written]) -> None:
    payload = b"".join(data for data, _, _ in written)
    sources = [source for data, source, _ in written for _ in data]
    wanted = [at for at, source in enumerate(sources) if source == sources[0]]
    message = Chunk(payload=bytes(payload[at] for at in wanted), offset=7, source=sources[0])
    message.source_run_bytes.extend(lengths(sources))
    found = list(pieces(message))
    offsets = [piece.offset + at for piece in found for at in range(len(piece.payload))]
    assert offsets == [7 + at for at in wanted]
    assert b"".join(piece.payload for piece in found) == message.payload
    assert {piece.source for piece in found} == {sources[0]}
    assert end_of(message) == 7 + len(payload)
    for count in range(len(wanted)):
        assert log_bytes(message, count) in {wanted[count], wanted[count - 1] + 1 if count else 0}
    assert log_bytes(message, len(wanted)) == len(payload)
    assert list(runs(message)) == [(sources[0], message.payload)]


def test_a_message_of_one_source_and_one_time_is_one_piece() -> None:
    message = Chunk(payload=b"abc", offset=1, source=ERR)
    assert list(pieces(message)) == [message]
    assert list(runs(message)) == [(ERR, b"abc")]
