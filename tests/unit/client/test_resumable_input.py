"""The input of a job over several calls, without a server."""

import random
from collections import deque

import pytest

from jobworker.v1 import job_attach_pb2, job_service_pb2
from jobworker_client.resumable_input import WINDOW, ResumableInput

Request = job_service_pb2.AttachJobRequest


def attached(*pieces: bytes) -> ResumableInput:
    """Return an input with pieces, in a call whose start is answered."""
    state = ResumableInput()
    for piece in pieces:
        state.put(piece)
    state.start_call()
    state.accepted(0)
    return state


def sent(state: ResumableInput) -> list[tuple[int, bytes]]:
    """Send what can be sent, and return the offsets and the bytes."""
    requests = []
    while state.can_send:
        requests.append(state.next_request())
    return [(each.input.offset, each.input.data) for each in requests]


def test_nothing_is_sent_before_the_start_is_answered() -> None:
    state = ResumableInput()
    state.put(b"ab")
    state.start_call()
    assert not state.can_send
    state.accepted(0)
    assert sent(state) == [(0, b"ab")]


def test_a_window_of_pieces_is_sent_ahead() -> None:
    state = attached(*[b"ab"] * WINDOW)
    assert not state.has_room
    assert sent(state) == [(2 * number, b"ab") for number in range(WINDOW)]
    state.accepted(2)
    state.put(b"cd")
    assert sent(state) == [(2 * WINDOW, b"cd")]


def test_the_end_follows_the_answer_to_the_last_piece() -> None:
    state = attached(b"ab", b"cd")
    state.end()
    assert len(sent(state)) == 2
    state.accepted(2)
    assert not state.can_send
    state.accepted(4)
    assert state.next_request() == Request(eof=job_attach_pb2.InputEnd(offset=4))
    assert not state.can_send
    assert not state.complete
    state.accepted(4)
    assert state.complete


def test_a_call_continues_within_a_piece() -> None:
    state = attached(b"abc", b"de")
    sent(state)
    state.start_call()
    state.accepted(1)
    assert sent(state) == [(1, b"bc"), (3, b"de")]


def test_a_server_that_forgot_the_position_gets_the_unanswered_pieces_again() -> None:
    state = attached(b"ab", b"cd")
    sent(state)
    state.accepted(2)
    state.start_call()
    state.accepted(0)
    assert sent(state) == [(2, b"cd")]


def test_an_end_whose_answer_is_lost_is_sent_again() -> None:
    state = attached()
    state.end()
    assert state.next_request().HasField("eof")
    state.start_call()
    state.accepted(0)
    assert not state.complete
    assert state.next_request().HasField("eof")


@pytest.mark.parametrize("seed", range(50))
def test_no_byte_is_lost_or_repeated(seed: int) -> None:
    """The server accepts parts in order, and calls break at random moments."""
    chance = random.Random(seed)
    pieces = [chance.randbytes(chance.randint(1, 5)) for _ in range(chance.randint(0, 30))]
    state, left, accepted = ResumableInput(), deque(pieces), bytearray()
    while not state.complete:
        state.start_call()
        state.accepted(len(accepted))
        unanswered: list[Request] = []
        for _ in range(chance.randint(0, 20)):
            match chance.choice(["put", "send", "answer"]):
                case "put" if not left:
                    state.end()
                case "put" if state.has_room:
                    state.put(left.popleft())
                case "send" if state.can_send:
                    unanswered.append(state.next_request())
                case "answer" if unanswered:
                    request = unanswered.pop(0)
                    assert request.input.offset <= len(accepted)
                    accepted += request.input.data[len(accepted) - request.input.offset :]
                    state.accepted(len(accepted))
            assert len(unanswered) <= WINDOW
        for request in unanswered[: chance.randint(0, WINDOW)]:  # accepted, but the answer is lost
            accepted += request.input.data[max(len(accepted) - request.input.offset, 0) :]
    assert accepted == b"".join(pieces)
