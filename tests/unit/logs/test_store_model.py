"""A bounded log read by many readers, compared with a model in memory."""

import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from jobworkerd.logs.cursor import Chunk, Gap, LogCursor, Skipped, open_cursor
from jobworkerd.logs.files import open_files
from jobworkerd.logs.seek import last_bytes, last_lines, since
from jobworkerd.model import OutputSource
from tests.unit.logs.stores import ERR, OUT, SLOT_NS, UNBOUNDED, start_of, store


@dataclass
class Model:
    """A simple log in memory: a source and a time for each byte."""

    data: bytearray = field(default_factory=bytearray)
    sources: list[OutputSource] = field(default_factory=list)
    times: list[int] = field(default_factory=list)

    def append(self, source: OutputSource, data: bytes, time_ns: int) -> None:
        self.data += data
        self.sources += [source] * len(data)
        self.times += [time_ns] * len(data)

    def check(self, piece: Chunk | Gap | Skipped, start: int, source: OutputSource | None) -> None:
        """Compare one piece that was read when the log began at `start`."""
        match piece:
            case Gap(offset, end, reason):
                assert offset < end == start, "exactly the trimmed range"
                assert "size limit" in reason
            case Skipped(offset, end):
                assert offset < end
                assert source is not None
                assert source not in self.sources[offset:end]
            case Chunk(offset, of, time_ns, data):
                told = range(offset, piece.end)
                assert data == bytes(self.data[at] for at in told if source in (self.sources[at], None))
                assert sources_of(piece) == self.sources[offset : piece.end]
                assert source in (of, None)
                assert time_ns == self.times[offset]
                self.check_spans(piece)

    def check_spans(self, chunk: Chunk) -> None:
        """Check that each span has the time of its first byte and contains all bytes of that time."""
        begin = chunk.offset
        for length, usec in zip(
            chunk.span_bytes or (chunk.end - chunk.offset,), chunk.span_usec or (0,), strict=True
        ):
            times = self.times[begin : begin + length]
            assert usec == (times[0] - chunk.time_ns) // 1_000
            assert len({time // SLOT_NS for time in times}) == 1
            begin += length
            if begin < chunk.end:
                assert self.times[begin] // SLOT_NS != times[0] // SLOT_NS
        assert begin == chunk.end

    def offsets(self, source: OutputSource | None) -> list[int]:
        return [offset for offset, each in enumerate(self.sources) if source in (each, None)]

    def last_bytes(self, count: int, source: OutputSource | None) -> int:
        """Return the offset of the last bytes, or 0 if there are fewer."""
        offsets = self.offsets(source)
        if count == 0:
            return len(self.data)
        return offsets[-count] if count <= len(offsets) else 0

    def last_lines(self, count: int, source: OutputSource | None) -> int:
        """Return the offset after a newline, or 0 if there are fewer lines."""
        offsets = self.offsets(source)
        if count == 0:
            return len(self.data)
        ends = [offset + 1 for offset in offsets[:-1] if self.data[offset] == ord("\n")]
        return ends[-count] if count <= len(ends) else 0

    def since(self, time_ns: int) -> int:
        return next((offset for offset, time in enumerate(self.times) if time >= time_ns), len(self.data))


@dataclass(frozen=True)
class Write:
    source: OutputSource
    sizes: list[int]
    pause_ns: int


@dataclass(frozen=True)
class Read:
    """A read by an open cursor, or by a new one that starts somewhere in the log."""

    reader: int
    part: float
    max_bytes: int
    source: OutputSource | None
    mixed: bool


def sources_of(chunk: Chunk) -> list[OutputSource]:
    """Return the source of each byte of a chunk."""
    found: list[OutputSource] = []
    source = chunk.source
    for length in chunk.run_bytes or (len(chunk.data),):
        assert length > 0
        found += [source] * length
        source = OutputSource(3 - source)
    return found


sources = st.sampled_from([OUT, ERR])
filters = st.sampled_from([OUT, ERR, None])
writes = st.builds(
    Write,
    sources,
    st.lists(st.integers(1, 9_000), min_size=1, max_size=60),
    st.sampled_from([0, 1_000_000, 50_000_000, -7]),
)
reads = st.builds(
    Read, st.integers(0, 3), st.floats(0, 1), st.sampled_from([7, 500, 4096, 70_000]), filters, st.booleans()
)


def some_output(size: int, seed: int) -> bytes:
    """Return bytes that differ between offsets, with some newlines."""
    return bytes(10 if (seed + i) % 37 == 0 else (seed * 31 + i * 7) % 251 for i in range(size))


@settings(deadline=None, max_examples=60)
@given(steps=st.lists(writes | reads, max_size=25), bound=st.sampled_from([UNBOUNDED, 70_000, 200_000]))
def test_readers_of_a_bounded_log_see_its_remaining_bytes(steps: list[Write | Read], bound: int) -> None:
    model, now = Model(), 1_000_000_000
    with tempfile.TemporaryDirectory() as name, store(Path(name), max_bytes=bound) as logs:
        directory = Path(name, "job")
        writer = logs.open("job")
        readers: dict[int, tuple[LogCursor, OutputSource | None]] = {}
        contexts = []
        for step in steps:
            match step:
                case Write(source, sizes, pause_ns):
                    for number, size in enumerate(sizes):
                        used = source if number % 3 else OutputSource(3 - source)
                        data = some_output(size, writer.size + number)
                        writer.append(used, memoryview(data), now + number)
                        latest = model.times[-1] if model.times else 0
                        model.append(used, data, max(latest, now + number))
                        now += pause_ns
                case Read(reader, part, max_bytes, only, mixed):
                    if reader not in readers:
                        context = open_cursor(directory, int(part * writer.size))
                        readers[reader] = (context.__enter__(), only)
                        contexts.append(context)
                    cursor, only = readers[reader]
                    if cursor.offset < writer.size:
                        before = cursor.offset
                        piece = cursor.read(writer.size, max_bytes, only, mixed=mixed)
                        assert piece.offset == before
                        assert piece.end == cursor.offset <= writer.size
                        model.check(piece, start_of(directory), only)
            assert writer.size == len(model.data)
            assert writer.extent.stored <= bound
            assert logs.total_bytes == writer.extent.stored
        start = start_of(directory)
        assert (bound == UNBOUNDED) <= (start == 0)
        for cursor, only in readers.values():
            while cursor.offset < writer.size:
                mixed = cursor.offset % 2 == 0
                model.check(cursor.read(writer.size, 1 << 18, only, mixed=mixed), start, only)
        check_offsets(directory, model, start)
        for context in contexts:
            context.__exit__(None, None, None)


def check_offsets(directory: Path, model: Model, start: int) -> None:
    """Compare the offsets in the remaining log; trimmed ones can be 0, where the gap is reported."""
    end = len(model.data)
    with open_files(directory) as files:
        for source in (OUT, ERR, None):
            for count in (0, 1, 2, 100, 10**6):
                assert last_bytes(files, count, end, source) in known(model.last_bytes(count, source), start)
                assert last_lines(files, count, end, source) in known(model.last_lines(count, source), start)
        for time in {*model.times[:: max(1, end // 5)], 0, UNBOUNDED << 20}:
            assert since(files, time, end) in known(model.since(time), start)


def known(offset: int, start: int) -> set[int]:
    """Return the valid results for an offset: a trimmed one can be exact or 0, both before the gap."""
    return {offset} if offset > start else {offset, 0} if offset < start else {start, 0}
