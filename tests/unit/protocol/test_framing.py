"""Frames of a stream in chunks of any size."""

from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobworkerd.protocol import framing, messages

bodies = st.one_of(
    st.builds(messages.GetJob, st.text(max_size=300)),
    st.builds(messages.Unfollow, st.text(max_size=10)),
    st.builds(
        messages.ListJobs,
        page_size=st.integers(1, 1_000),
        labels=st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3),
    ),
    st.just(messages.Ready()),
)
requests = st.builds(messages.Request, st.integers(0, 2**40), bodies)


def new_decoder() -> framing.FrameDecoder[messages.Request]:
    return framing.FrameDecoder(msgspec.msgpack.Decoder(messages.Request))


@given(sent=st.lists(requests, max_size=8), data=st.data())
def test_chunks_of_any_size_give_the_same_messages(sent: list[messages.Request], data: st.DataObject) -> None:
    stream = b"".join(map(framing.encode, sent))
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=20))
    decoder = new_decoder()
    got: list[messages.Request] = []
    for start, end in pairwise([0, *sorted(cuts), len(stream)]):
        got += decoder.feed(stream[start:end])
    assert got == sent


def test_byte_by_byte() -> None:
    sent = messages.Request(7, messages.GetJob("a"))
    frame = framing.encode(sent)
    decoder = new_decoder()
    got = [list(decoder.feed(frame[at : at + 1])) for at in range(len(frame))]
    assert got == [[]] * (len(frame) - 1) + [[sent]]


def test_a_frame_that_is_too_long_is_an_error_at_once() -> None:
    header = (framing.MAX_FRAME_BYTES + 1).to_bytes(4, "big")
    with pytest.raises(framing.FrameTooLong, match=str(framing.MAX_FRAME_BYTES + 1)):
        list(new_decoder().feed(header))


def test_a_message_that_is_too_long_is_not_encoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(framing, "MAX_FRAME_BYTES", 100)
    with pytest.raises(framing.FrameTooLong):
        framing.encode(messages.GetJob("x" * 100))


@pytest.mark.parametrize(
    "body",
    [b"", b"\xc1", msgspec.msgpack.encode({"type": "Nonsense"}), msgspec.msgpack.encode(messages.Drain())],
    ids=["nothing", "no msgpack", "no such message", "a message of the other direction"],
)
def test_an_invalid_message_is_an_error(body: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        list(new_decoder().feed(len(body).to_bytes(4, "big") + body))
