"""An assembler for classic BPF programs that search values in ranges (include/uapi/linux/bpf_common.h)."""

import itertools
import struct
from collections.abc import Iterable, Sequence
from typing import NamedTuple

LOAD, JUMP, IF_EQUAL, RETURN = 0x20, 0x05, 0x15, 0x06
_IF_AT_LEAST, _IF_ANY_BIT = 0x35, 0x45
_LONGEST_JUMP = 255


class Range(NamedTuple):
    """The values from `first` up to the next range, and the label where the program continues for them."""

    first: int
    target: str


class _Line(NamedTuple):
    """An instruction with the labels of its jumps, if it is a conditional jump."""

    code: int
    value: int
    jumps: tuple[str, str] | None = None


class Assembler:
    """A program whose conditional jumps name their targets. All jumps lead forward."""

    def __init__(self) -> None:
        """Begin an empty program."""
        self._lines: list[_Line] = []
        self._places: dict[str, int] = {}
        self._serial = itertools.count()

    def mark(self, label: str) -> None:
        """Let a label stand for the next instruction."""
        self._places[label] = len(self._lines)

    def load(self, offset: int) -> None:
        """Load 32 bits of the data at an offset."""
        self._lines.append(_Line(LOAD, offset))

    def finish(self, value: int) -> None:
        """End the program with a value."""
        self._lines.append(_Line(RETURN, value))

    def if_any_bit(self, bits: int, target: str, otherwise: str) -> None:
        """Continue at a label that depends on the bits of the loaded value."""
        self._lines.append(_Line(_IF_ANY_BIT, bits, (target, otherwise)))

    def search(self, ranges: Sequence[Range]) -> str:
        """Continue at the target of the range that contains the loaded value, found by bisection.

        Return the label of the first instruction. The first range begins with 0.
        """
        if len(ranges) == 1:
            return ranges[0].target
        middle = len(ranges) // 2
        label, place = f"search {next(self._serial)}", len(self._lines)
        self.mark(label)
        self.finish(0)  # the place of this comparison
        lower = self.search(ranges[:middle])
        upper = self.search(ranges[middle:])
        self._lines[place] = _Line(_IF_AT_LEAST, ranges[middle].first, (upper, lower))
        return label

    def assemble(self) -> list[bytes]:
        """Return each instruction as a `struct sock_filter`."""
        return [
            instruction(line.code, line.value, *self._offsets(place, line.jumps or ()))
            for place, line in enumerate(self._lines)
        ]

    def _offsets(self, place: int, labels: Iterable[str]) -> list[int]:
        offsets = [self._places[label] - place - 1 for label in labels]
        assert all(0 <= offset <= _LONGEST_JUMP for offset in offsets)
        return offsets


def instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    """Return a `struct sock_filter`."""
    return struct.pack("=HBBI", code, if_true, if_false, value)
