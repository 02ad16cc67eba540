"""The file format of a job's log.

`output.log` contains only the job's bytes, stdout and stderr in the order in which they were read. `cat` and
`tail -f` work on it. `output.idx` describes each piece: a header, then records in the order of their offsets,
without gaps. Zeros can follow the last record: preallocated space (see `writer`). Before bytes move into
`output.log`, the next free slot can hold an intent: a record with length 0, where readers stop. It has the
offset and the kind of these bytes, so that their record can be completed if the writer dies (see `recovery`).

A log that reached its bound is trimmed: both files then have a hole at the beginning, and the header has the
first remaining offset (see `retention`).

A writer writes the bytes first, then the record, and then publishes the size of the log. A reader therefore
finds all bytes and records up to the published size.
"""

import struct
from pathlib import Path
from typing import NamedTuple

from jobworkerd.model import OutputSource

RECORD = struct.Struct("<QQIBxxx")
"""offset, time in ns since the epoch, length, kind: 24 bytes, little-endian."""

_INTENT = struct.Struct("<QQII")
"""offset, zeros, length 0, kind in the lowest byte and the length of a copy in the other three bytes."""

HEADER = struct.Struct("<QQ8x")
"""The fields of `Header`, little-endian."""

MAX_RECORD_LENGTH = 2**32 - 1

RECORDS_AHEAD = 4096 // RECORD.size
"""Number of records for which the writer allocates space at once."""

LOST = 0
"""The kind of a piece that could not be stored. Other kinds are the file descriptors 1 and 2."""

SOURCES = (None, OutputSource.STDOUT, OutputSource.STDERR)
"""The sources by kind."""


class Header(NamedTuple):
    """The remaining part of a log: bytes from `start` on, records from the index `first_record` on."""

    start: int
    first_record: int


class Record(NamedTuple):
    """One piece of a log; `source` is None if its bytes are lost."""

    offset: int
    time_ns: int
    length: int
    source: OutputSource | None

    @property
    def end(self) -> int:
        """The offset after the last byte."""
        return self.offset + self.length


def pack(record: Record) -> bytes:
    """Encode a record for the index."""
    kind = record.source or LOST
    return RECORD.pack(record.offset, record.time_ns, record.length, kind)


def pack_intent(offset: int, source: OutputSource, copied: int = 0) -> bytes:
    """Encode an intent for the next free slot.

    `copied` is the length of a copy (see `writer`), less than 16 MiB; 0 if the kernel moves the bytes.
    """
    return _INTENT.pack(offset, 0, 0, source | copied << 8)


def unpack_intent(slot: bytes, offset: int) -> tuple[int, int]:
    """Return the kind and the length of the copy in a slot; LOST and 0 without an intent for the offset."""
    if len(slot) == _INTENT.size:
        found, _, length, rest = _INTENT.unpack(slot)
        if (found, length) == (offset, 0) and rest & 0xFF < len(SOURCES):
            return rest & 0xFF, rest >> 8
    return LOST, 0


def unpack_all(data: bytes) -> list[Record]:
    """Decode the complete records at the beginning of a piece of the index, up to the first free slot."""
    records = []
    for offset, time_ns, length, kind in RECORD.iter_unpack(data[: len(data) // RECORD.size * RECORD.size]):
        if length == 0 or kind >= len(SOURCES):
            break
        records.append(Record(offset, time_ns, length, SOURCES[kind]))
    return records


def record_position(number: int) -> int:
    """Return the position in the index file of the record with an index, which counts from 0."""
    return HEADER.size + number * RECORD.size


def data_file(directory: Path) -> Path:
    """Return the path of the file with the bytes."""
    return directory / "output.log"


def index_file(directory: Path) -> Path:
    """Return the path of the index file."""
    return directory / "output.idx"
