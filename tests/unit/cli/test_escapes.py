"""Tests of escape sequences in typed input, and of the modes that are reset."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobworker_cli.stream.escapes import Escape, EscapeFilter
from jobworker_cli.stream.screen_modes import ScreenModes


@pytest.mark.parametrize(
    ("typed", "passed", "escape"),
    [
        (b"~.", b"", Escape.DETACH),
        (b"ls\r~.more", b"ls\r", Escape.DETACH),
        (b"ls\n~?", b"ls\n", Escape.HELP),
        (b"ls~.", b"ls~.", None),
        (b"\r~~.", b"\r~.", None),
        (b"\r~x~.", b"\r~x~.", None),
        (b"\x10\x11", b"\x10\x11", None),
        (b"\r~", b"\r", None),
    ],
)
def test_escape_sequences(typed: bytes, passed: bytes, escape: Escape | None) -> None:
    assert EscapeFilter().feed(typed) == (passed, escape)


@given(st.binary(max_size=30), st.integers(0, 30))
def test_the_pieces_of_the_input_have_no_influence(typed: bytes, split: int) -> None:
    whole, escape = EscapeFilter().feed(typed)
    pieces = EscapeFilter()
    passed, found = pieces.feed(typed[:split])
    if found is None:
        rest, found = pieces.feed(typed[split:])
        passed += rest
    assert (passed, found) == (whole, escape)


def test_other_and_no_detach_keys() -> None:
    assert EscapeFilter("^d").feed(b"\r~.^d") == (b"\r~.^d", None)
    assert EscapeFilter("^d").feed(b"\r^d") == (b"\r", Escape.DETACH)
    assert EscapeFilter("").feed(b"~.\r~.") == (b"~.\r~.", None)


@pytest.mark.parametrize(
    ("output", "reset"),
    [
        (b"plain", b""),
        (b"\x1b[?1049h\x1b[?25l", b"\x1b[?1049l\x1b[?25h"),
        (b"\x1b[?1049h\x1b[?1049l\x1b[?25l\x1b[?25h", b""),
        (b"\x1b[?1000;1006h", b"\x1b[?1000l\x1b[?1006l"),
        (b"\x1b[>1u\x1b[>3u\x1b[<u", b"\x1b[<u"),
        (b"\x1b[?7h\x1b[?2004h", b"\x1b[?2004l"),
    ],
)
def test_changed_modes_are_reset_once(output: bytes, reset: bytes) -> None:
    for split in range(len(output) + 1):
        modes = ScreenModes()
        modes.feed(output[:split])
        modes.feed(output[split:])
        found = modes.reset()
        assert sorted(found.split(b"\x1b")) == sorted(reset.split(b"\x1b")), split
        assert modes.reset() == b""
