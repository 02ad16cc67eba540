"""The jobs of the fault test: what each writes and how it ends follow from the seed alone."""

import enum
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from jobworker.v1 import job_output_pb2

STDOUT = job_output_pb2.OUTPUT_SOURCE_STDOUT
STDERR = job_output_pb2.OUTPUT_SOURCE_STDERR
SOURCES = (STDOUT, STDERR)

_PATTERN_BYTES = 1 << 22
_EXIT_CODES = (0, 0, 0, 1, 7, 77, 255)
_STOPPED_EXIT_CODE = 42
_PRIORITIES = (0, 0, 0, 0, -3, 3)
"""Most jobs have the same priority, so that the other rules of the queue decide."""

_FIRST = 9
"""The priority of jobs for which a fault waits."""


class Kind(enum.StrEnum):
    """The behavior of a job."""

    SHORT = "short"
    SLOW = "slow"
    LARGE = "large"
    NOISY = "noisy"
    """Writes single bytes to both sources at once, so that kills interrupt moves of output. Only for that."""
    SIGNALED = "signaled"
    TIMED = "timed"
    ENDLESS = "endless"
    STUBBORN = "stubborn"


_WEIGHTS = {
    Kind.SHORT: 56,
    Kind.SLOW: 18,
    Kind.LARGE: 3,
    Kind.NOISY: 0,
    Kind.SIGNALED: 4,
    Kind.TIMED: 5,
    Kind.ENDLESS: 11,
    Kind.STUBBORN: 3,
}


@dataclass(frozen=True)
class Piece:
    """One write of a job: a part of the pattern to one source, then a pause in seconds."""

    source: int
    start: int
    length: int
    pause: float = 0.0


@dataclass(frozen=True)
class JobFiles:
    """The files that all jobs share: a pattern to read, and a list of the commands that ran to append to."""

    pattern: Path
    runs: Path

    @classmethod
    def make(cls, directory: Path, seed: int) -> "JobFiles":
        """Create both files in a directory that jobs can see."""
        files = cls(directory / "pattern", directory / "runs" / "runs")
        files.pattern.write_bytes(random.Random(seed).randbytes(_PATTERN_BYTES))
        files.runs.parent.mkdir()
        files.runs.parent.chmod(0o777)
        files.runs.touch()
        files.runs.chmod(0o666)
        return files

    def marks(self) -> Iterator[tuple[str, str]]:
        """Yield the marks `start` and `written` of the commands, each with the request id."""
        for line in self.runs.read_text().splitlines():
            mark, request_id = line.split(" ", 1)
            yield mark, request_id


@dataclass(frozen=True)
class JobPlan:
    """One job. `queue_timeout` is None for a job that does not wait in the queue."""

    request_id: str
    kind: Kind
    pieces: tuple[Piece, ...]
    exit_code: int
    timeout: float | None
    grace_period: float
    queue_timeout: float | None
    priority: int

    @property
    def total(self) -> int:
        """The number of bytes that the job writes if it is not stopped."""
        return sum(piece.length for piece in self.pieces)

    @property
    def ends(self) -> bool:
        """Whether the job ends by itself."""
        return self.kind not in {Kind.ENDLESS, Kind.STUBBORN}

    def expected(self, source: int, pattern: bytes) -> bytes:
        """Return all bytes that the job writes to a source."""
        own = (piece for piece in self.pieces if piece.source == source)
        return b"".join(pattern[piece.start : piece.start + piece.length] for piece in own)

    def script(self, files: JobFiles) -> str:
        """Return the shell script of the job."""
        # The shell reports killed commands on its stderr, so the job's stderr is descriptor 3.
        lines = [f"echo start {self.request_id} >>{files.runs}", "exec 3>&2 2>/dev/null", *self._traps()]
        # Two processes that pass single bytes to each other take longer than one.
        copy, end = (" bs=1 | dd bs=1 status=none", " &") if self.kind is Kind.NOISY else (" bs=64k", "")
        for piece in self.pieces:
            part = f"skip={piece.start} count={piece.length} iflag=skip_bytes,count_bytes,fullblock"
            target = " >&3" * (piece.source == STDERR)
            lines.append(f"dd if={files.pattern} {part} status=none{copy}{target}{end}")
            if piece.pause:
                lines.append(f"sleep {piece.pause}")
        lines.append("wait")
        lines.append(f"echo written {self.request_id} >>{files.runs}")
        return "\n".join([*lines, self._end()])

    def _traps(self) -> list[str]:
        if self.kind is Kind.ENDLESS:
            return [f"trap 'exit {_STOPPED_EXIT_CODE}' TERM"]
        return ["trap '' TERM"] if self.kind is Kind.STUBBORN else []

    def _end(self) -> str:
        if self.kind is Kind.SIGNALED:
            return "kill -SEGV $$"
        if self.kind in {Kind.TIMED, Kind.ENDLESS, Kind.STUBBORN}:
            return "while :; do sleep 0.3; done"
        return f"exit {self.exit_code}"


def make_plan(seed: int, number: int, *, queues: bool, kind: Kind | None = None) -> JobPlan:
    """Return the job with this number; `queues` lets some jobs wait in the queue."""
    rng = random.Random(f"{seed}/{number}")
    kind = kind or rng.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]
    waits = queues and (kind is Kind.NOISY or rng.random() < 0.5)
    return JobPlan(
        request_id=f"soak-{seed}-{number}",
        kind=kind,
        pieces=tuple(_pieces(rng, kind)),
        exit_code=rng.choice(_EXIT_CODES),
        timeout=round(rng.uniform(0.3, 2.5), 2) if kind is Kind.TIMED else None,
        grace_period=0.3 if kind is Kind.STUBBORN else 20.0,
        queue_timeout=rng.choice((0.2, 60.0, 60.0, 60.0)) if waits else None,
        priority=_FIRST if kind is Kind.NOISY else rng.choice(_PRIORITIES) if waits else 0,
    )


def _pieces(rng: random.Random, kind: Kind) -> Iterator[Piece]:
    """Yield pieces of at least 64 bytes, so that the bytes alone identify their place in the pattern."""
    if kind is Kind.NOISY:
        yield from (_piece(rng, source, 5_000, 20_000) for source in SOURCES)
        return
    count, longest, pause = 1 + rng.randrange(3), 8_192, 0.0
    if kind is Kind.SLOW:
        count, longest, pause = 6 + rng.randrange(20), 3_000, 0.15
    elif kind is Kind.LARGE:
        count, longest = 4, 300_000
    for _ in range(count):
        yield _piece(rng, rng.choice(SOURCES), 64, longest, pause)


def _piece(rng: random.Random, source: int, shortest: int, longest: int, pause: float = 0.0) -> Piece:
    length = rng.randint(shortest, longest)
    start = rng.randrange(_PATTERN_BYTES - length)
    return Piece(source, start, length, round(rng.uniform(0, pause), 2))
