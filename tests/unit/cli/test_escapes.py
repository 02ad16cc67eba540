"""Tests of escape sequences in typed input, and of the modes that are reset."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobworker_cli.stream.escapes import Escape, EscapeFilter
from jobworker_cli.stream.screen_modes import ScreenModes

Parts = list[bytes | Escape]


@pytest.mark.parametrize(
    ("typed", "parts"),
    [
        (b"~.", [Escape.DETACH]),
        (b"ls\r~.more", [b"ls\r", Escape.DETACH, b"more"]),
        (b"ls\n~?", [b"ls\n", Escape.HELP]),
        (b"~?~?~.", [Escape.HELP, Escape.HELP, Escape.DETACH]),
        (b"\r~\x1afg", [b"\r", Escape.SUSPEND, b"fg"]),
        (b"ls~.", [b"ls~."]),
        (b"\r~~.", [b"\r~."]),
        (b"\r~x~.", [b"\r~x~."]),
        (b"\x10\x11\x1a", [b"\x10\x11\x1a"]),
        (b"\r~", [b"\r"]),
    ],
)
def test_escape_sequences(typed: bytes, parts: Parts) -> None:
    assert list(EscapeFilter().feed(typed)) == parts


@given(st.binary(max_size=30) | st.text("~.?\r\x1ax", max_size=30).map(str.encode), st.integers(0, 30))
def test_the_pieces_of_the_input_have_no_influence(typed: bytes, split: int) -> None:
    pieces = EscapeFilter()
    parts = [*pieces.feed(typed[:split]), *pieces.feed(typed[split:])]
    assert joined(parts) == joined([*EscapeFilter().feed(typed)])


def joined(parts: Parts) -> Parts:
    """Join successive input."""
    result: Parts = []
    for part in parts:
        if result and isinstance(part, bytes) and isinstance(result[-1], bytes):
            result[-1] += part
        else:
            result.append(part)
    return result


def test_other_and_no_detach_keys() -> None:
    assert [*EscapeFilter("^d").feed(b"\r~.^d")] == [b"\r~.^d"]
    assert [*EscapeFilter("^d").feed(b"\r^d")] == [b"\r", Escape.DETACH]
    assert [*EscapeFilter("~?").feed(b"~?")] == [Escape.DETACH]
    assert [*EscapeFilter("").feed(b"~.\r~.")] == [b"~.\r~."]


@pytest.mark.parametrize(
    ("output", "reset", "again"),
    [
        (b"plain", b"", b""),
        (b"\x1b[?1049h\x1b[?25l", b"\x1b[r\x1b[?25h\x1b[?1049l", b"\x1b[?1049h\x1b[?25l"),
        (b"\x1b[?1049h\x1b[?1049l\x1b[?25l\x1b[?25h", b"", b""),
        (b"\x1b[?1000;1006h", b"\x1b[?1006l\x1b[?1000l", b"\x1b[?1000h\x1b[?1006h"),
        (b"\x1b[>1u\x1b[>3u\x1b[<u", b"\x1b[<u", b"\x1b[>1u"),
        (b"\x1b[>1u\x1b[>3u\x1b[<2u", b"", b""),
        (b"\x1b[?7h\x1b[?2004h", b"\x1b[?2004l", b"\x1b[?2004h"),
        (b"\x1b[?1h\x1b=", b"\x1b>\x1b[?1l", b"\x1b[?1h\x1b="),
        (b"\x1b[?1h\x1b=\x1b[?1l\x1b>", b"", b""),
        (b"\x1b[0;1;31mred", b"\x1b[m", b""),
        (b"\x1b[31mred\x1b[0m plain", b"", b""),
    ],
)
def test_changed_modes_are_reset_and_set_again(output: bytes, reset: bytes, again: bytes) -> None:
    for split in range(len(output) + 1):
        modes = ScreenModes()
        modes.feed(output[:split])
        modes.feed(output[split:])
        assert (modes.reset(), modes.set_again()) == (reset, again), split
