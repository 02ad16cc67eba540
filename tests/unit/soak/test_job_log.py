"""Check that the fault test finds missing, repeated and foreign bytes."""

import pytest

from tests.soak.faults.job_log import JobLog, LogMismatch

OUT, ERR = bytes(range(100)), bytes(range(100, 200))
EXPECTED = {1: OUT, 2: ERR}


def whole() -> JobLog:
    """Return the log of a job that wrote all bytes of both sources."""
    log = JobLog()
    log.add(0, 1, OUT[:40])
    log.add(40, 2, ERR)
    log.add(140, 1, OUT[40:])
    return log


def test_both_sources_in_any_order_match() -> None:
    whole().check(EXPECTED, 200, complete=True)


def test_overlapping_readers_agree() -> None:
    log = whole()
    log.add(30, 1, OUT[30:40])
    log.add(150, 1, OUT[50:60])
    log.check(EXPECTED, 200, complete=True)


def test_reported_loss_matches_the_missing_bytes() -> None:
    log = JobLog()
    log.add(0, 1, OUT[:40])
    log.add_loss(40, 70)
    log.add(70, 2, ERR[10:])
    log.add(160, 1, OUT[60:])
    log.check(EXPECTED, 200, complete=True)


def test_beginning_of_the_output_of_a_stopped_job_matches() -> None:
    log = JobLog()
    log.add(0, 2, ERR[:10])
    log.check(EXPECTED, 10, complete=False)
    with pytest.raises(LogMismatch, match="190 bytes are missing"):
        log.check(EXPECTED, 10, complete=True)


@pytest.mark.parametrize(
    ("offset", "source", "payload"),
    [(30, 1, OUT[31:41]), (30, 2, OUT[30:40]), (0, 2, ERR[:1])],
    ids=["other bytes", "other source", "first byte"],
)
def test_readers_that_differ_are_found(offset: int, source: int, payload: bytes) -> None:
    with pytest.raises(LogMismatch, match=f"readers differ at offset {offset}"):
        whole().add(offset, source, payload)


def test_loss_of_bytes_that_a_reader_got_is_found() -> None:
    with pytest.raises(LogMismatch, match="readers differ at offset 190"):
        whole().add_loss(190, 200)


@pytest.mark.parametrize(
    "parts",
    [
        [(1, OUT[:40]), (1, OUT[41:]), (2, ERR)],
        [(1, OUT), (1, OUT[-1:]), (2, ERR[1:])],
        [(2, OUT), (1, ERR)],
    ],
    ids=["missing byte", "repeated byte", "swapped sources"],
)
def test_wrong_output_is_found(parts: list[tuple[int, bytes]]) -> None:
    log, offset = JobLog(), 0
    for source, payload in parts:
        log.add(offset, source, payload)
        offset += len(payload)
    with pytest.raises(LogMismatch):
        log.check(EXPECTED, offset, complete=True)


@pytest.mark.parametrize("lost", [29, 31])
def test_loss_of_another_length_is_found(lost: int) -> None:
    log = JobLog()
    log.add(0, 1, OUT[:40])
    log.add_loss(40, 40 + lost)
    log.add(40 + lost, 2, ERR)
    log.add(140 + lost, 1, OUT[70:])
    with pytest.raises(LogMismatch):
        log.check(EXPECTED, 170 + lost, complete=True)


def test_log_of_another_size_is_found() -> None:
    with pytest.raises(LogMismatch, match="saw 200 bytes, but the log has 201"):
        whole().check(EXPECTED, 201, complete=True)
