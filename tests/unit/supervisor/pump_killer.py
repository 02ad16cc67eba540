"""Kills a pump with SIGKILL at random moments while the pipes stay open, and another one continues.

`python -m tests.unit.supervisor.pump_killer DIRECTORY KILLS SEED` prints the size of the log. This process
holds the read ends of the pipes, as the keeper does. One child writes output. Another child pumps it until
it is killed.
"""

import asyncio
import fcntl
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from jobworkerd.logs.store import LogStore
from jobworkerd.logs.writer import LogWriter
from jobworkerd.model import OutputSource
from jobworkerd.supervisor.pump import Pump

OUT, ERR = OutputSource.STDOUT, OutputSource.STDERR
Ends = dict[OutputSource, int]

MAX_LIFE_SECONDS = 0.006
PIPE_BYTES = 1 << 20
SIZES = (1, 7, 24, 100, 511, 4_096, 4_097, 65_536, 200_000)


def output(source: OutputSource, start: int, size: int) -> bytes:
    """Return a part of the endless output of a source: numbered lines, all of them different."""
    letter = b"o" if source is OUT else b"e"
    lines = range(start // 10, (start + size) // 10 + 1)
    return b"".join(b"%s%08d\n" % (letter, line) for line in lines)[start % 10 :][:size]


def write_output(ends: Ends, seed: int) -> None:
    """Write pieces of random sizes to random pipes."""
    chance, done = random.Random(seed), {OUT: 0, ERR: 0}
    while True:
        source = chance.choice((OUT, ERR))
        data = output(source, done[source], chance.choice(SIZES))
        while data:
            written = os.write(ends[source], data)
            done[source] += written
            data = data[written:]
        if chance.random() < 0.2:
            time.sleep(0.0005)


def pump(directory: Path, ends: Ends) -> None:
    """Do what a new supervisor does with a job that it adopts."""

    async def run() -> None:
        logs = LogStore(directory, 1 << 40, 1 << 40, print)
        new_pump(asyncio.get_running_loop(), ends).start(logs.resume("job"))
        await asyncio.sleep(60)

    asyncio.run(run())


def new_pump(loop: asyncio.AbstractEventLoop, ends: Ends) -> Pump:
    return Pump(
        loop, {source: os.dup(end) for source, end in ends.items()}, memoryview(bytearray(1)), lambda: None
    )


def forked(run: Callable[..., None], *args: object) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            run(*args)
        finally:
            os._exit(1)
    return pid


def kill(pid: int) -> None:
    """Kill a child that has not failed before."""
    os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    if os.waitstatus_to_exitcode(status) != -signal.SIGKILL:
        raise SystemExit("a child failed")


def main(directory: Path, kills: int, seed: int) -> None:
    """Kill pumps, then read the rest of the output."""
    reads: Ends = {}
    writes: Ends = {}
    for source in (OUT, ERR):
        reads[source], writes[source] = os.pipe()
        os.set_blocking(reads[source], False)
        fcntl.fcntl(reads[source], fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    chance = random.Random(seed)
    (directory / "job").mkdir()
    LogWriter.create(directory / "job").close()
    writer = forked(write_output, writes, seed)
    for _ in range(kills):
        pumping = forked(pump, directory, reads)
        time.sleep(chance.random() * MAX_LIFE_SECONDS)
        kill(pumping)
    kill(writer)
    loop = asyncio.new_event_loop()
    last, log = new_pump(loop, reads), LogWriter.resume(directory / "job")
    last.start(log)
    last.finish()
    print(log.size)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
