"""A pump that is killed between two system calls, and another one that continues its log."""

import errno
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobworkerd.logs.cursor import Chunk, open_cursor
from jobworkerd.model import OutputSource
from tests.unit.supervisor.killed_pump import ERR, OUT, Job, Killed, Seam
from tests.unit.supervisor.pump_killer import output

KILLS = 400


@dataclass(frozen=True)
class Write:
    source: OutputSource
    size: int


@dataclass(frozen=True)
class Read:
    source: OutputSource


@dataclass(frozen=True)
class Kill:
    """Die at a system call after some others, perhaps in the middle of a write."""

    calls: int
    torn: bool


@dataclass(frozen=True)
class Break:
    """Let calls fail from now on; none of them with an empty mapping."""

    errors: dict[str, int]


sources = st.sampled_from([OUT, ERR])
writes = st.builds(Write, sources, st.integers(1, 30) | st.integers(1, 20_000))
reads = st.builds(Read, sources)
kills = st.builds(Kill, st.integers(0, 8), st.booleans())
breaks = st.builds(
    Break,
    st.sampled_from(
        [
            {},
            {"splice": errno.EINVAL},
            {"splice": errno.ENOSPC},
            {"splice": errno.EIO, "pwrite": errno.EIO},
            {"splice": errno.EROFS, "pwrite": errno.EROFS, "posix_fallocate": errno.EROFS},
        ]
    ),
)
Step = Write | Read | Kill | Break


def play(job: Job, seam: Seam, steps: list[Step]) -> None:
    """Play the steps. A kill takes effect in a later step, and the step after that resumes."""
    for step in steps:
        try:
            with seam.installed():
                match step:
                    case Write(source, size):
                        job.write(source, size)
                    case Read(source):
                        job.read(source)
                    case Kill(calls, torn):
                        seam.countdown, seam.torn = calls, torn
                    case Break(errors):
                        seam.errors = errors
        except Killed:
            job.kill()
            seam.countdown = None
        except OSError:
            assert seam.errors, "a resume on a broken disk fails; the next step retries"
            job.kill()


@settings(deadline=None, max_examples=300)
@given(prefix=st.integers(0, 345), steps=st.lists(writes | reads | reads | kills, max_size=40))
def test_each_byte_is_in_the_log_once_or_in_the_pipe(prefix: int, steps: list[Step]) -> None:
    """The prefix moves the records to any place in the pages of the index."""
    with tempfile.TemporaryDirectory() as name:
        job, seam = Job(Path(name)), Seam()
        for number in range(prefix):
            source = OutputSource(1 + number % 2)
            job.write(source, 1)
            job.read(source)
        play(job, seam, steps)
        job.kill()
        check_exact(job)
        job.finish()
        job.kill()
        assert job.left(OUT) == job.left(ERR) == 0
        check_exact(job)
        job.close()


@settings(deadline=None, max_examples=150)
@given(
    max_bytes=st.sampled_from([0, 100, 9_000, 30_000]),
    steps=st.lists(writes | reads | reads | kills, max_size=60),
)
def test_a_killed_log_within_a_bound_has_the_last_bytes(max_bytes: int, steps: list[Step]) -> None:
    with tempfile.TemporaryDirectory() as name:
        job, seam = Job(Path(name), max_bytes), Seam()
        play(job, seam, steps)
        job.finish()
        job.kill()
        pieces, trimmed = job.output()
        total = sum(map(len, job.written.values()))
        assert trimmed + sum(len(piece) for each in pieces.values() for piece in each) == total
        for source, written in job.written.items():
            assert written.endswith(b"".join(pieces[source]))
        job.close()


def test_the_last_output_is_copied_without_splice(tmp_path: Path) -> None:
    job, seam = Job(tmp_path), Seam(errors={"splice": errno.EINVAL})
    for source in (OUT, ERR):
        job.write(source, 10_000)
    with seam.installed():
        job.finish()
    job.kill()
    assert job.left(OUT) == job.left(ERR) == 0
    check_exact(job)
    job.close()


def check_exact(job: Job) -> None:
    pieces, lost = job.output()
    assert lost == 0
    for source, written in job.written.items():
        left = job.left(source)
        assert b"".join(pieces[source]) == written[: len(written) - left]


@settings(deadline=None, max_examples=300)
@given(steps=st.lists(writes | reads | reads | kills | breaks, max_size=60))
def test_a_broken_disk_loses_only_reported_bytes(steps: list[Step]) -> None:
    with tempfile.TemporaryDirectory() as name:
        job, seam = Job(Path(name)), Seam()
        play(job, seam, steps)
        seam.countdown, seam.errors = None, {}
        job.finish()
        assert job.log
        job.log.record_loss()
        job.kill()
        pieces, lost = job.output()
        for source, written in job.written.items():
            left = iter(written)
            assert all(byte in left for piece in pieces[source] for byte in piece), "once, and in order"
        stored = sum(len(piece) for each in pieces.values() for piece in each)
        total = sum(map(len, job.written.values()))
        index_failed = any(isinstance(step, Break) and "pwrite" in step.errors for step in steps)
        if not any(isinstance(step, Kill) for step in steps):
            assert stored + lost == total
        elif not index_failed:
            # A copy that was killed can count bytes as lost that are read later.
            assert stored + lost >= total
        job.close()


@pytest.mark.parametrize("seed", [1, 2])
def test_hundreds_of_kills_neither_lose_nor_repeat_a_byte(tmp_path: Path, seed: int) -> None:
    killer = [sys.executable, "-m", "tests.unit.supervisor.pump_killer", str(tmp_path), str(KILLS), str(seed)]
    ended = subprocess.run(killer, capture_output=True, check=True, timeout=120)
    size = int(ended.stdout)
    assert size > KILLS * 1_000
    found = {OUT: bytearray(), ERR: bytearray()}
    with open_cursor(tmp_path / "job", 0) as cursor:
        while cursor.offset < size:
            piece = cursor.read(size, 1 << 20)
            assert isinstance(piece, Chunk)
            found[piece.source] += piece.data
    for source, data in found.items():
        assert data == output(source, 0, len(data))
