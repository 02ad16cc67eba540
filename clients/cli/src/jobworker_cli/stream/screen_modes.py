"""Modes that programs set in a terminal, and the sequences that reset them or set them again."""

import re

__all__ = ["ScreenModes"]

_DEFAULTS = {7: True, 25: True} | dict.fromkeys(
    (1, 47, 1000, 1002, 1003, 1004, 1005, 1006, 1015, 1047, 1049, 2004), False
)
"""The default of each private mode (DECSET of xterm) that is followed: line wrapping and the cursor are on.

Off are cursor keys of applications, the alternate screens, reports of the mouse and of the focus, and
bracketed paste.
"""

_ALTERNATE_SCREENS = frozenset({47, 1047, 1049})
_ALL_LINES = b"\x1b[r"
"""Scroll all lines (DECSTBM). It moves the cursor, so it is only used before the normal screen returns."""

_SEQUENCE = re.compile(
    rb"\x1b(?:\[\?(?P<modes>[0-9;]{1,40})(?P<set>[hl])"
    rb"|\[(?P<style>[0-9;:]{0,80})m"
    rb"|\[>(?P<push>[0-9]{0,3})u|\[<(?P<pop>[0-9]{0,3})u"
    rb"|(?P<keypad>[=>]))"
)
"""Private modes, colours and other styles (SGR), the keyboard protocol of kitty, and the keypad mode."""

_INCOMPLETE = re.compile(rb"\x1b(\[[?<>0-9;:]{0,80})?\Z")


class ScreenModes:
    """Follows the modes in the output of a job, so that only changed modes are reset.

    For example, leaving the alternate screen would move the cursor on a terminal that shows the normal one.
    """

    def __init__(self) -> None:
        self._changed: dict[int, bool] = {}
        self._keyboards: list[bytes] = []
        self._keypad = False
        self._styled = False
        self._rest = b""

    def feed(self, data: bytes) -> None:
        """Process output. A sequence can continue in the next output."""
        data = self._rest + data
        incomplete = _INCOMPLETE.search(data)
        self._rest = incomplete[0] if incomplete else b""
        for found in _SEQUENCE.finditer(data):
            self._process(found)

    def _process(self, found: re.Match[bytes]) -> None:
        if modes := found["modes"]:
            for mode in filter(None, modes.split(b";")):
                self._set(int(mode), found["set"] == b"h")
        elif (style := found["style"]) is not None:
            self._styled = style.strip(b"0") != b""
        elif found["push"] is not None:
            self._keyboards.append(found["push"])
        elif found["pop"] is not None:
            del self._keyboards[-int(found["pop"] or 1) :]
        else:
            self._keypad = found["keypad"] == b"="

    def _set(self, mode: int, on: bool) -> None:  # noqa: FBT001 - the value of the mode
        default = _DEFAULTS.get(mode)
        if default is None or on == default:
            self._changed.pop(mode, None)
        else:
            self._changed[mode] = on

    def reset(self) -> bytes:
        """Return the sequences that set the defaults."""
        return b"".join(
            (
                b"\x1b[<u" * len(self._keyboards),
                b"\x1b>" if self._keypad else b"",
                b"\x1b[m" if self._styled else b"",
                _ALL_LINES if _ALTERNATE_SCREENS & self._changed.keys() else b"",
                *(_private_mode(mode, not on) for mode, on in reversed(self._changed.items())),
            )
        )

    def set_again(self) -> bytes:
        """Return the sequences that set the modes of the job after a `reset`. Programs set styles again."""
        return b"".join(
            (
                *(_private_mode(mode, on) for mode, on in self._changed.items()),
                b"\x1b=" if self._keypad else b"",
                *(b"\x1b[>%su" % flags for flags in self._keyboards),
            )
        )


def _private_mode(mode: int, on: bool) -> bytes:  # noqa: FBT001 - the value of the mode
    return b"\x1b[?%d%c" % (mode, b"h" if on else b"l")
