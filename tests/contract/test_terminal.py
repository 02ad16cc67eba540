"""Tests of jobs with a terminal against a live server."""

from typing import Any, Self

from restarts import lasting_client, supervisor

from jobworker.v1 import job_attach_pb2, job_pb2, job_service_pb2
from live import Server
from live_client import Client

TERMINAL = job_pb2.JobTerminal(columns=101, rows=33, term="vt100")


class Screen:
    """A call of AttachJob that types and reads."""

    def __init__(self, client: Client, job_id: str, input_id: str = "keys", **start: Any) -> None:
        self._call = client.stub.AttachJob(timeout=60)
        self._start = job_attach_pb2.AttachStart(id=job_id, input_id=input_id, **start)
        self._offset = 0
        self.output = b""
        self.sizes: list[tuple[int, int]] = []
        self.result: job_pb2.Job | None = None

    async def __aenter__(self) -> Self:
        await self._call.write(job_service_pb2.AttachJobRequest(start=self._start))
        if self._start.input_id:
            await self._accepted()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._call.cancel()

    async def type(self, data: bytes) -> None:
        chunk = job_attach_pb2.InputChunk(offset=self._offset, data=data)
        await self._call.write(job_service_pb2.AttachJobRequest(input=chunk))
        await self._accepted()

    async def end(self) -> None:
        end = job_attach_pb2.InputEnd(offset=self._offset)
        await self._call.write(job_service_pb2.AttachJobRequest(eof=end))
        await self._accepted()

    async def send(self, **message: Any) -> None:
        await self._call.write(job_service_pb2.AttachJobRequest(**message))

    async def shows(self, text: bytes) -> None:
        """Wait until the output contains a text, and forget the output before."""
        while text not in self.output:
            await self._read()
        self.output = self.output.partition(text)[2]

    async def ended(self) -> job_pb2.Job:
        while self.result is None:
            await self._read()
        return self.result

    async def _accepted(self) -> None:
        message = await self._read()
        while message.WhichOneof("kind") != "input_accepted":
            message = await self._read()
        self._offset = message.input_accepted.offset

    async def _read(self) -> Any:
        message: Any = await self._call.read()
        self.output += message.output.payload
        if message.HasField("resized"):
            self.sizes.append((message.resized.columns, message.resized.rows))
        if message.output.HasField("result"):
            self.result = message.output.result
        return message


async def test_the_job_has_a_controlling_terminal_of_the_requested_size(admin: Client) -> None:
    script = "tty && stty size && echo $TERM && echo tty >/dev/tty && : </dev/stdin && echo err >&2"
    job = await admin.create("sh", "-c", script, terminal=TERMINAL)
    lines = (await admin.stream(job.id)).bytes().split(b"\r\n")
    assert lines[0].startswith(b"/dev/pts/")
    assert lines[1:] == [b"33 101", b"vt100", b"tty", b"err", b""]
    assert (await admin.ended(job.id)).terminal == TERMINAL


async def test_typing_control_characters_and_the_end(admin: Client) -> None:
    script = "trap 'echo interrupted' INT; echo up; read line; echo got $line; cat; echo end"
    job = await admin.create("sh", "-c", script, terminal=TERMINAL)
    async with Screen(admin, job.id) as screen:
        await screen.shows(b"up")
        await screen.type(b"word\n")
        await screen.shows(b"got word")
        await screen.type(b"partial")
        await screen.shows(b"partial")
        await screen.end()
        await screen.shows(b"partial")
        await screen.shows(b"end")
        assert (await screen.ended()).exit_code == 0


async def test_ctrl_c_and_signals_reach_the_foreground(admin: Client) -> None:
    script = "sh -c 'trap \"echo child; exit\" INT; echo up; while :; do sleep 0.1; done'; echo parent"
    for send in ("key", "signal"):
        job = await admin.create("bash", "-m", "-c", script, terminal=TERMINAL)
        async with Screen(admin, job.id) as screen:
            await screen.shows(b"up")
            if send == "key":
                await screen.type(b"\x03")
            else:
                await screen.send(signal=job_attach_pb2.JobSignal(name="INT"))
            await screen.shows(b"child")
            await screen.ended()


async def test_the_smallest_writer_sets_the_size(admin: Client) -> None:
    script = "trap 'stty size' WINCH; stty size; while :; do sleep 0.1; done"
    job = await admin.create("sh", "-c", script, terminal=TERMINAL)
    await admin.wrote(job.id, b"33 101")
    size = job_attach_pb2.TerminalSize
    sizes = [(90, 40), (90, 30), (50, 40), (90, 40)]
    async with Screen(admin, job.id, size=size(columns=90, rows=40)) as first:
        await first.shows(b"40 90")
        async with Screen(admin, job.id, "other", size=size(columns=120, rows=30)) as second:
            await second.shows(b"30 90")
            await second.send(resize=size(columns=50, rows=60))
            await first.shows(b"40 50")
        await first.shows(b"40 90")
    async with Screen(
        admin, job.id, "again", size=size(columns=90, rows=40), redraw=True, tail_bytes=0
    ) as third:
        await third.shows(b"40 90")
    final = await admin.stop(job.id)
    assert [(size.columns, size.rows) for size in final.terminal_resizes] == sizes
    async with Screen(admin, job.id, "") as viewer:
        await viewer.ended()
    assert viewer.sizes == [(101, 33), *sizes]


async def test_no_output_is_lost_at_the_end(admin: Client) -> None:
    jobs = [
        await admin.create("sh", "-c", "seq 1 3000 & seq 1 3000; wait; printf last", terminal=TERMINAL)
        for _ in range(10)
    ]
    for job in jobs:
        output = (await admin.stream(job.id)).bytes()
        assert output.endswith(b"last")
        assert len(output) == 2 * sum(len(str(n)) + 2 for n in range(1, 3001)) + 4


async def test_the_terminal_survives_the_supervisor(own_server: Server) -> None:
    async with lasting_client(own_server) as admin:
        script = "echo up; while read line; do echo got $line; done; echo end"
        job = await admin.create("sh", "-c", script, terminal=TERMINAL)
        size = job_attach_pb2.TerminalSize(columns=90, rows=40)
        async with Screen(admin, job.id, size=size) as screen:
            await screen.type(b"one\n")
            await screen.shows(b"got one")
        supervisor(own_server).kill()
        await admin.get(job.id)
        async with Screen(admin, job.id, "new") as screen:
            await screen.type(b"two\n")
            await screen.shows(b"got two")
            await screen.end()
            final = await screen.ended()
    assert final.exit_code == 0
    assert [(each.columns, each.rows) for each in final.terminal_resizes] == [(90, 40)]
    assert screen.sizes[-1] == (90, 40)
