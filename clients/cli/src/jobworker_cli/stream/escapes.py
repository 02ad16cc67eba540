"""Escape sequences in typed input, as in ssh(1): after Enter, `~.` detaches and `~?` lists the sequences."""

import enum
from collections.abc import Iterator

__all__ = ["Escape", "EscapeFilter"]

_LINE_ENDS = b"\r\n"
_CTRL_Z = 0x1A


class Escape(enum.Enum):
    """The request of an escape sequence."""

    DETACH = enum.auto()
    SUSPEND = enum.auto()
    HELP = enum.auto()


class EscapeFilter:
    """Finds escape sequences in input. `keys` are the escape character and the detach character.

    Without `keys`, no sequence is recognized.
    """

    def __init__(self, keys: str = "~.") -> None:
        self._start, detach = keys.encode("ascii") if keys else (-1, -1)
        self._escapes = {_CTRL_Z: Escape.SUSPEND, ord("?"): Escape.HELP, detach: Escape.DETACH}
        self._after_enter = True
        self._started = False

    def feed(self, data: bytes) -> Iterator[bytes | Escape]:
        """Yield the input and the escape sequences, in their order."""
        passed = bytearray()
        for byte in data:
            if self._started:
                self._started = False
                if escape := self._escapes.get(byte):
                    if passed:
                        yield bytes(passed)
                        passed.clear()
                    yield escape
                    continue
                passed += bytes([self._start] if byte == self._start else [self._start, byte])
            elif self._after_enter and byte == self._start:
                self._started = True
                continue
            else:
                passed.append(byte)
            self._after_enter = byte in _LINE_ENDS
        if passed:
            yield bytes(passed)
