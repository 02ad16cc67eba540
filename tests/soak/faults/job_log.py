"""The log of one job as all its readers saw it."""

from collections.abc import Iterator, Mapping
from itertools import groupby

LOST = 255
"""Stands for a source in a range that the server said it lost."""


class LogMismatch(Exception):
    """Readers saw different bytes, or bytes that the job did not write."""


class JobLog:
    """The bytes of a log and the source of each byte; source 0 is not known yet."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._sources = bytearray()

    @property
    def size(self) -> int:
        """The end of the output that readers have seen."""
        return len(self._data)

    @property
    def lost(self) -> int:
        """The number of bytes that the server said it lost."""
        return self._sources.count(LOST)

    def add(self, offset: int, source: int, payload: bytes) -> None:
        """Add what a reader received.

        Raises:
            LogMismatch: an earlier reader received other bytes at these offsets.
        """
        end = offset + len(payload)
        if len(self._data) < end:
            self._data.extend(bytes(end - len(self._data)))
            self._sources.extend(bytes(end - len(self._sources)))
        known, sources = self._sources[offset:end], bytes([source]) * len(payload)
        if any(known) and not (known == sources and self._data[offset:end] == payload):
            self._compare(offset, source, payload)
        self._data[offset:end] = payload
        self._sources[offset:end] = sources

    def add_loss(self, start: int, end: int) -> None:
        """Add a range that the server said it lost.

        Raises:
            LogMismatch: an earlier reader received bytes in this range.
        """
        self.add(start, LOST, bytes(end - start))

    def check(self, expected: Mapping[int, bytes], size: int, *, complete: bool) -> None:
        """Compare a log of `size` bytes that was read as a whole with the bytes that the job wrote.

        With `complete` the job wrote all expected bytes, otherwise any number of the first ones.

        Raises:
            LogMismatch: the bytes differ.
        """
        if len(self._data) > size or 0 in self._sources or len(self._data) < size:
            raise LogMismatch(f"readers saw {len(self._data)} bytes, but the log has {size}")
        at, slack, offset = dict.fromkeys(expected, 0), 0, 0
        for source, part in self._runs():
            if source == LOST:
                slack += len(part)
            else:
                skipped = _find(expected[source], at[source], part, slack)
                if skipped is None:
                    raise LogMismatch(f"{len(part)} bytes at offset {offset} of source {source} are wrong")
                at[source] += skipped + len(part)
                slack -= skipped
            offset += len(part)
        missing = sum(len(expected[source]) - at[source] for source in expected)
        if complete and missing != slack:
            raise LogMismatch(f"{missing} bytes are missing, but {slack} bytes are reported as lost")
        if slack > missing:
            raise LogMismatch(f"{slack} bytes are reported as lost, but the job wrote at most {missing} more")

    def _compare(self, offset: int, source: int, payload: bytes) -> None:
        for at, now in enumerate(payload, offset):
            before = self._sources[at]
            if before and (before != source or self._data[at] != now):
                raise LogMismatch(f"readers differ at offset {at}: source {before} then {source}")

    def _runs(self) -> Iterator[tuple[int, bytes]]:
        at = 0
        for source, group in groupby(self._sources):
            length = sum(1 for _ in group)
            yield source, bytes(self._data[at : at + length])
            at += length


def _find(whole: bytes, at: int, part: bytes, slack: int) -> int | None:
    """Return the number of bytes between a position and a part of the output; at most `slack`."""
    found = whole.find(part, at, at + slack + len(part))
    return None if found < 0 else found - at
