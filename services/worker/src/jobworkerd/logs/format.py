"""The files of one job's log, in the job's own directory.

`output.log` holds the job's bytes, stdout and stderr in the order in which they were read, and nothing
else: `cat` and `tail -f` work on it. `output.idx` says of each piece what it is: a header, and then
records in the order of their offsets and without a gap between them. Behind the last record the index may
have zeros: space taken ahead (see `writer`).

A log that has reached its bound gives its oldest bytes back: both files have a hole then where those
were, and the header says where what is left begins (see `retention`).

A writer writes the bytes first, then the record, then says how long the log is. So a reader that was
told of N bytes finds them, and the records of all of them.
"""

import struct
from pathlib import Path
from typing import NamedTuple

from jobworkerd.model import OutputSource

RECORD = struct.Struct("<QQIBxxx")
"""offset, time in ns since the epoch, length, kind: 24 bytes, little-endian."""

HEADER = struct.Struct("<QQ8x")
"""The fields of `Header`, little-endian."""

MAX_RECORD_LENGTH = 2**32 - 1

LOST = 0
"""The kind of a piece whose bytes could not be written; the others are file descriptors' numbers."""

SOURCES = (None, OutputSource.STDOUT, OutputSource.STDERR)
"""By kind."""


class Header(NamedTuple):
    """What is left of a log: the bytes from `start` on, and the records from number `first_record` on."""

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
        """The offset behind the last byte."""
        return self.offset + self.length


def pack(record: Record) -> bytes:
    """Returns the record as it stands in the index."""
    kind = record.source or LOST
    return RECORD.pack(record.offset, record.time_ns, record.length, kind)


def unpack_all(data: bytes) -> list[Record]:
    """Returns the whole records that a piece of the index begins with, up to the first zeros."""
    records = []
    for offset, time_ns, length, kind in RECORD.iter_unpack(data[: len(data) // RECORD.size * RECORD.size]):
        if length == 0:
            break
        records.append(Record(offset, time_ns, length, SOURCES[kind]))
    return records


def place_of(number: int) -> int:
    """Returns where in the index the record with a number, from 0, stands."""
    return HEADER.size + number * RECORD.size


def data_file(directory: Path) -> Path:
    """Returns the path of the bytes."""
    return directory / "output.log"


def index_file(directory: Path) -> Path:
    """Returns the path of the index."""
    return directory / "output.idx"
