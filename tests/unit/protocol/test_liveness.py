"""Detection of a silent peer."""

from jobworkerd.protocol.liveness import Liveness


def test_answered_pings() -> None:
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


def test_a_message_at_the_last_tick() -> None:
    liveness = Liveness()
    for _ in range(3):
        liveness.tick()
    assert not liveness.heard()
    assert liveness.tick()
    assert liveness.answers


def test_a_message_after_the_detection() -> None:
    liveness = Liveness()
    for _ in range(9):
        liveness.tick()
    assert liveness.heard()
    assert liveness.answers
    assert not liveness.heard()
