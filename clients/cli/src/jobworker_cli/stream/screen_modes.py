"""Modes that programs set in a terminal, and the sequences that reset them."""

import re

__all__ = ["ScreenModes"]

_RESET_WHEN_SET = frozenset({47, 1000, 1002, 1003, 1004, 1005, 1006, 1015, 1047, 1049, 2004})
"""The alternate screens, bracketed paste, and the reports of the mouse and of the focus (DECSET of xterm)."""

_CURSOR = 25
_PRIVATE_MODE = re.compile(rb"\x1b\[\?([0-9;]{1,40})([hl])")
_KEYBOARD = re.compile(rb"\x1b\[(?:>[0-9]{0,3}|(<)[0-9]{0,3})u")
"""Pushes or pops the flags of the keyboard protocol of kitty."""

_INCOMPLETE = re.compile(rb"\x1b(\[[?<>0-9;]{0,40})?\Z")


class ScreenModes:
    """Follows the modes in the output of a job, so that only changed modes are reset.

    For example, leaving the alternate screen would move the cursor on a terminal that shows the normal one.
    """

    def __init__(self) -> None:
        self._modes: dict[int, bool] = {}
        self._keyboards = 0
        self._rest = b""

    def feed(self, data: bytes) -> None:
        """Process output. A sequence can continue in the next output."""
        data = self._rest + data
        incomplete = _INCOMPLETE.search(data)
        self._rest = incomplete[0] if incomplete else b""
        for found in _PRIVATE_MODE.finditer(data):
            for mode in filter(None, found[1].split(b";")):
                self._modes[int(mode)] = found[2] == b"h"
        for found in _KEYBOARD.finditer(data):
            self._keyboards = max(0, self._keyboards + (-1 if found[1] else 1))

    def reset(self) -> bytes:
        """Return the sequences that restore the modes, and forget the modes."""
        modes, self._modes = self._modes, {}
        keyboards, self._keyboards = self._keyboards, 0
        restored = b"".join(b"\x1b[?%dl" % mode for mode in _RESET_WHEN_SET if modes.get(mode))
        cursor = b"\x1b[?25h" if modes.get(_CURSOR) is False else b""
        return restored + cursor + b"\x1b[<u" * keyboards
