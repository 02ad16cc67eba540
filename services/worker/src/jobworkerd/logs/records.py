"""Records of an index as columns, so that the cost per record is low."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from itertools import compress
from operator import ne, sub

from jobworkerd.logs.format import LOST, RECORD, SOURCES
from jobworkerd.model import OutputSource

SPAN_NS = 10_000_000
"""Length of a span in ns: all bytes that were read in it have one time."""

_WORDS, _HALVES = RECORD.size // 8, RECORD.size // 4
_LENGTH_HALF, _KIND_BYTE = 4, 20
"""Positions in a record of its length, in units of 4 bytes, and of its kind (see `format.RECORD`)."""


_KINDS = bytes(range(len(SOURCES)))


class Records:
    """The complete records at the beginning of a piece of the index.

    They end before the first zeros or the first unknown kind.
    """

    def __init__(self, data: bytes) -> None:
        view = memoryview(data)[: len(data) // RECORD.size * RECORD.size]
        self._offsets = view.cast("Q")[0::_WORDS]
        self._times = view.cast("Q")[1::_WORDS]
        self._lengths = view.cast("I")[_LENGTH_HALF::_HALVES]
        self._kinds = bytes(view[_KIND_BYTE :: RECORD.size])
        self._count = bisect_left(self._lengths, 1, key=lambda length: length == 0)
        if self._kinds.translate(None, _KINDS):
            # A damaged index: as in `format.unpack_all`, the records end before the first unknown kind.
            unknown = next(at for at, kind in enumerate(self._kinds) if kind >= len(SOURCES))
            self._count = min(self._count, unknown)

    def __len__(self) -> int:
        return self._count

    def find(self, offset: int) -> int | None:
        """Return the index of the record that contains an offset."""
        at = bisect_right(self._offsets, offset, hi=self._count) - 1
        return at if at >= 0 and self.end(at) > offset else None

    def end(self, at: int) -> int:
        """Return the offset after a record."""
        return self._offsets[at] + self._lengths[at]

    def source(self, at: int) -> OutputSource | None:
        """Return the source of a record, or None if its bytes are lost."""
        return SOURCES[self._kinds[at]]

    def time_ns(self, at: int) -> int:
        """Return the time of a record."""
        return self._times[at]

    def first_of(self, kinds: Iterable[int], at: int) -> int:
        """Return the index, from `at` on, of the first record of one of the kinds."""
        found = (self._kinds.find(kind, at, self._count) for kind in kinds)
        return min((index for index in found if index >= 0), default=self._count)

    def first_from(self, offset: int, at: int, stop: int) -> int:
        """Return the index, from `at` to `stop`, of the first record that begins at an offset or later."""
        return bisect_left(self._offsets, offset, at, stop)

    def spans(self, at: int, stop: int, begin: int, end: int) -> tuple[Sequence[int], Sequence[int]]:
        """Return the lengths and times of the spans from `begin` to `end`, in the records `at` to `stop`.

        Times are in microseconds after the time of the first record. Two empty sequences mean one span.
        """
        first = self._times[at]
        if self._times[stop - 1] // SPAN_NS == first // SPAN_NS:
            return (), ()
        times = self._times[at:stop].tolist()
        begins = _begins([time // SPAN_NS for time in times])
        usec = [(time - first) // 1_000 for time in compress(times, begins)]
        return _lengths(compress(self._offsets[at:stop].tolist(), begins), begin, end), usec

    def runs(self, at: int, stop: int, begin: int, end: int) -> Sequence[int]:
        """Return the lengths of the runs of one source; an empty sequence means one run."""
        kinds = self._kinds[at:stop]
        if kinds.count(kinds[0]) == len(kinds):
            return ()
        return _lengths(compress(self._offsets[at:stop].tolist(), _begins(kinds)), begin, end)


def other_kinds(source: OutputSource) -> tuple[int, int]:
    """Return the kinds of all records except those of a source."""
    return LOST, OutputSource.STDOUT + OutputSource.STDERR - source


def _begins(keys: Sequence[int]) -> list[bool]:
    """Return for each key whether it differs from the key before it."""
    return [True, *map(ne, keys, keys[1:])]


def _lengths(offsets: Iterable[int], begin: int, end: int) -> Sequence[int]:
    """Return the lengths of the pieces that begin at the offsets, limited to `begin` and `end`."""
    begins = [begin, *list(offsets)[1:]]
    return list(map(sub, [*begins[1:], end], begins))
