"""Who is silent for too long, and who is not."""

from jobworkerd.protocol.liveness import Liveness


def test_pings_that_are_answered() -> None:
    liveness = Liveness()
    for _ in range(10):
        assert liveness.tick()
        assert not liveness.heard()
    assert liveness.answers


def test_silence() -> None:
    liveness = Liveness()
    due = [liveness.tick() for _ in range(4)]
    assert due == [True, False, False, False]
    assert not liveness.answers


def test_a_word_at_the_last_moment() -> None:
    liveness = Liveness()
    for _ in range(3):
        liveness.tick()
    assert not liveness.heard()
    assert liveness.tick()
    assert liveness.answers


def test_back_after_silence() -> None:
    liveness = Liveness()
    for _ in range(9):
        liveness.tick()
    assert liveness.heard()
    assert liveness.answers
    assert not liveness.heard()
