"""Escape sequences in typed input, as in ssh(1): after Enter, `~.` detaches and `~?` lists the sequences."""

import enum

__all__ = ["Escape", "EscapeFilter"]

_LINE_ENDS = b"\r\n"


class Escape(enum.Enum):
    """The request of an escape sequence."""

    DETACH = enum.auto()
    HELP = enum.auto()


class EscapeFilter:
    """Removes escape sequences from input. `keys` are the escape character and the detach character.

    Without `keys`, no sequence is recognized.
    """

    def __init__(self, keys: str = "~.") -> None:
        self._start, self._detach = keys.encode("ascii") if keys else (-1, -1)
        self._after_enter = True
        self._started = False

    def feed(self, data: bytes) -> tuple[bytes, Escape | None]:
        """Return the input before an escape sequence, and the sequence. Input after it is dropped."""
        passed = bytearray()
        for byte in data:
            if self._started:
                self._started = False
                if byte == self._detach:
                    return bytes(passed), Escape.DETACH
                if byte == ord("?"):
                    self._after_enter = True
                    return bytes(passed), Escape.HELP
                passed += bytes([self._start] if byte == self._start else [self._start, byte])
            elif self._after_enter and byte == self._start:
                self._started = True
                continue
            else:
                passed.append(byte)
            self._after_enter = byte in _LINE_ENDS
        return bytes(passed), None
