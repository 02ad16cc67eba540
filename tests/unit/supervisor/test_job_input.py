"""Tests of the stdin of a job, with a real pipe."""

import asyncio
import os
import random
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from held_jobs import HeldJobs
from hypothesis import given, settings
from hypothesis import strategies as st

from jobworkerd.errors import InputOffsetOutOfRange, StdinInUse
from jobworkerd.model import Stdin
from jobworkerd.supervisor import job_input
from jobworkerd.supervisor.holder import HeldJob, input_key, join_entries
from jobworkerd.supervisor.input_spool import InputSpool
from jobworkerd.supervisor.input_state import InputState
from jobworkerd.supervisor.job_input import MAX_PENDING_BYTES, JobInput

JOB_ID = "01981c6d-0000-7000-8000-000000000000"
KEY = input_key(JOB_ID)
PIPE_BYTES = 65_536


class Job:
    """A job that reads its stdin when a test wants it to."""

    def __init__(self, kind: Stdin = Stdin.OPEN) -> None:
        self.holder = HeldJobs()
        self.kind = kind
        self.stdin = self._new()
        self.read_end = self.stdin.open()
        os.set_blocking(self.read_end, False)
        self.stdin.hold()

    def _new(self) -> JobInput:
        return JobInput(JOB_ID, asyncio.get_running_loop(), self.holder, self.kind)

    def read(self, count: int = 1 << 20) -> bytes | None:
        """Return bytes; empty at the end of file, and None if none have arrived."""
        try:
            return os.read(self.read_end, count)
        except BlockingIOError:
            return None

    def kill_supervisor(self) -> None:
        """Continue with what the holder has. The descriptors of the earlier supervisor are closed."""
        if self.stdin._target is not None:
            asyncio.get_running_loop().remove_writer(self.stdin._target)
            os.close(self.stdin._target)
            os.close(self.stdin._spool.file)
        self.stdin._stop_timer()
        self.stdin = self._new()
        if entry := self.holder.entries.get(KEY):
            self.stdin.adopt(HeldJob(entry.state, [os.dup(each) for each in entry.descriptors]))


@asynccontextmanager
async def job(kind: Stdin = Stdin.OPEN) -> AsyncIterator[Job]:
    made = Job(kind)
    try:
        yield made
    finally:
        made.stdin.close()
        assert not made.holder.entries, "the holder keeps no pipe open"
        os.close(made.read_end)


async def test_the_job_reads_accepted_bytes_and_the_end() -> None:
    async with job() as made:
        feeder = made.stdin.attach("one")
        assert await made.stdin.feed(feeder, 0, b"ab") == 2
        assert made.read() == b"ab"
        assert made.read() is None, "the pipe is open"
        assert await made.stdin.end(feeder, 2) == 2
        assert made.read() == b""


async def test_repeated_bytes_are_dropped_and_gaps_refused() -> None:
    async with job() as made:
        feeder = made.stdin.attach("one")
        await made.stdin.feed(feeder, 0, b"abc")
        assert await made.stdin.feed(feeder, 1, b"bcd") == 4
        assert await made.stdin.feed(feeder, 0, b"ab") == 4
        with pytest.raises(InputOffsetOutOfRange) as refused:
            await made.stdin.feed(feeder, 5, b"f")
        assert refused.value.accepted == 4
        with pytest.raises(InputOffsetOutOfRange):
            await made.stdin.end(feeder, 5)
        assert made.read() == b"abcd"


async def test_a_feeder_waits_for_a_job_that_does_not_read() -> None:
    async with job() as made:
        feeder = made.stdin.attach("one")
        for offset in range(0, MAX_PENDING_BYTES + PIPE_BYTES, PIPE_BYTES):
            await made.stdin.feed(feeder, offset, bytes(PIPE_BYTES))
        waiting = asyncio.create_task(made.stdin.feed(feeder, MAX_PENDING_BYTES + PIPE_BYTES, b"last"))
        await asyncio.sleep(0.02)
        assert not waiting.done()
        made.read()
        assert await asyncio.wait_for(waiting, 5) == MAX_PENDING_BYTES + PIPE_BYTES + 4


async def test_input_for_a_closed_stdin_is_accepted_and_dropped() -> None:
    async with job() as made:
        feeder = made.stdin.attach("one")
        os.close(made.read_end)
        assert await made.stdin.feed(feeder, 0, b"abc") == 3
        assert not made.holder.entries
        assert await made.stdin.feed(feeder, 3, b"def") == 6
        assert await made.stdin.end(feeder, 6) == 6
        made.read_end = os.open(os.devnull, os.O_RDONLY)


async def test_a_waiting_feeder_continues_when_the_job_ends() -> None:
    async with job() as made:
        feeder = made.stdin.attach("one")
        await made.stdin.feed(feeder, 0, bytes(MAX_PENDING_BYTES + PIPE_BYTES))
        waiting = asyncio.create_task(made.stdin.feed(feeder, MAX_PENDING_BYTES + PIPE_BYTES, b"x"))
        await asyncio.sleep(0)
        made.stdin.close()
        assert await asyncio.wait_for(waiting, 5) == MAX_PENDING_BYTES + PIPE_BYTES + 1


async def test_only_one_client_feeds() -> None:
    async with job() as made:
        first = made.stdin.attach("one")
        await made.stdin.feed(first, 0, bytes(MAX_PENDING_BYTES + PIPE_BYTES))
        waiting = asyncio.create_task(made.stdin.feed(first, MAX_PENDING_BYTES + PIPE_BYTES, b"x"))
        await asyncio.sleep(0)
        with pytest.raises(StdinInUse):
            made.stdin.attach("two")
        made.stdin.attach("two", take_over=True)
        with pytest.raises(StdinInUse):
            await asyncio.wait_for(waiting, 5)
        made.stdin.detach(first)
        with pytest.raises(StdinInUse):
            made.stdin.attach("three")
        made.stdin.attach("two")


@pytest.mark.parametrize("ended", [False, True])
async def test_stdin_of_kind_once_ends_without_its_feeder(
    monkeypatch: pytest.MonkeyPatch, *, ended: bool
) -> None:
    monkeypatch.setattr(job_input, "RETURN_SECONDS", 0.05)
    async with job(Stdin.ONCE) as made:
        await asyncio.sleep(0.1)
        assert made.read() is None, "the first feeder has not come yet"
        feeder = made.stdin.attach("one")
        await made.stdin.feed(feeder, 0, b"abc")
        made.stdin.detach(feeder)
        made.stdin.attach("one")
        await asyncio.sleep(0.1)
        assert made.read() == b"abc"
        assert made.read() is None, "the feeder has returned"
        if ended:
            made.kill_supervisor()
            await asyncio.sleep(0.1)
            assert made.read() == b""


async def test_the_end_survives_a_kill_before_the_job_has_read_everything() -> None:
    async with job() as made:
        feeder = made.stdin.attach("one")
        size = PIPE_BYTES + 10
        await made.stdin.feed(feeder, 0, bytes(size))
        await made.stdin.end(feeder, size)
        made.kill_supervisor()
        count = 0
        while count < size:
            count += len(made.read() or b"")
            await asyncio.sleep(0.01)
        assert made.read() == b""


async def test_a_stdin_without_a_job_is_released() -> None:
    holder = HeldJobs()
    entry, stdin = HeldJob(b"", [os.open(os.devnull, os.O_RDONLY)]), HeldJob(b"", [])
    holder.hold("b/input", b"", [], ())
    joined = join_entries(holder, {"a": HeldJob(b"", []), "a/input": stdin, "b/input": entry})
    assert [*joined] == ["a"]
    assert joined["a"].stdin is stdin
    assert not holder.entries
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(entry.descriptors[0])


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("feed"), st.sampled_from("xy"), st.integers(0, 5), st.integers(1, 9_000)),
        st.tuples(st.just("read"), st.integers(1, 200_000)),
        st.tuples(st.just("kill")),
    ),
    max_size=30,
)


@given(STEPS)
@settings(max_examples=150, deadline=None)
def test_no_byte_is_lost_or_repeated(steps: list[tuple[object, ...]]) -> None:
    """Two clients take turns; each repeats some bytes, as after a broken connection."""

    async def run() -> None:
        inputs = {name: random.Random(name).randbytes(300_000) for name in "xy"}
        sent, expected, got = {"x": 0, "y": 0}, bytearray(), bytearray()
        async with job() as made:
            for step in steps:
                match step:
                    case ("feed", str(name), int(repeated), int(count)):
                        feeder = made.stdin.attach(name, take_over=True)
                        begin = max(sent[name] - repeated, 0)
                        data = inputs[name][begin : begin + count]
                        assert made.stdin.accepted(feeder) == sent[name]
                        end = await made.stdin.feed(feeder, begin, data)
                        expected += inputs[name][sent[name] : end]
                        sent[name] = end
                    case ("read", int(count)):
                        got += made.read(count) or b""
                    case _:
                        made.kill_supervisor()
                await asyncio.sleep(0)
            while rest := made.read():
                got += rest
                await asyncio.sleep(0)
                await asyncio.sleep(0)
            assert got == expected

    asyncio.run(run())


def test_the_state_remembers_earlier_inputs_up_to_a_bound() -> None:
    state = InputState()
    for number in range(20):
        state = state.switched(f"input {number}", number)
    assert state.accepted("input 19", 25) == 6
    assert state.accepted("input 18", 25) == 1
    assert state.accepted("input 0", 25) == 0
    assert len(state.others) == 16
    assert state.switched("input 18", 25).accepted("input 18", 27) == 3


def test_kill_9_of_a_sender_neither_loses_nor_repeats_a_byte() -> None:
    """The next process continues with the size and the position that the kernel has."""
    data = random.Random(1).randbytes(1 << 22)
    spool = os.memfd_create("test")
    read_end, write_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    got, kills, chance = bytearray(), 0, random.Random(1)
    while len(got) < len(data):
        child = os.fork()
        if child == 0:
            _send_all(InputSpool(spool), data, write_end)
        until = time.monotonic() + chance.uniform(0, 0.02)
        while time.monotonic() < until:
            with suppress(BlockingIOError):
                got += os.read(read_end, 300)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        kills += 1
    assert got == data
    assert kills > 5
    for descriptor in (spool, read_end, write_end):
        os.close(descriptor)


def _send_all(spool: InputSpool, data: bytes, target: int) -> None:
    """Append and send small parts until this process is killed."""
    while True:
        with suppress(BlockingIOError):
            if spool.pending < PIPE_BYTES:
                spool.append(memoryview(data)[spool.size : spool.size + 1_777])
            if spool.pending:
                spool.send(target)
                spool.trim(PIPE_BYTES)
