"""AttachJob over mTLS, with a scripted supervisor."""

import asyncio
from pathlib import Path

from api_server import FINAL_JOB, JOB, JOB_ID, Api, eventually, write_log
from msgspec.structs import replace

from jobworker.v1 import job_attach_pb2, job_service_pb2
from jobworkerd.config import Config
from jobworkerd.protocol import messages
from jobworkerd.terminal import Terminal, TerminalResize

SPEC = replace(JOB.spec, terminal=Terminal(101, 33))


def start(offset: int) -> job_service_pb2.AttachJobRequest:
    return job_service_pb2.AttachJobRequest(start=job_attach_pb2.AttachStart(id=JOB_ID, offset=offset))


async def test_the_sizes_of_the_terminal_precede_the_output_and_follow_its_changes(
    api: Api, config: Config
) -> None:
    resizes = tuple(TerminalResize(columns, 33, columns - 90) for columns in (91, 92, 93))
    job = replace(JOB, spec=SPEC, log_size=3, terminal_resizes=resizes)
    api.supervisor.script = lambda _: messages.OneJob(job)
    write_log(Path(config.state_dir, "jobs"), b"out")
    received: list[job_service_pb2.AttachJobResponse] = []

    async def attach() -> None:
        async with api.client() as client:
            call = client.stub.AttachJob()
            await call.write(start(offset=2))
            async for message in call:
                received.append(message)  # noqa: PERF401 - the test looks at it meanwhile

    async with asyncio.timeout(20):
        attaching = asyncio.create_task(attach())
        await eventually(lambda: len(received) == 3)
        await api.supervisor.say(messages.Progress(JOB_ID, 3, resize=resizes[-1]))
        await api.supervisor.say(messages.Progress(JOB_ID, 3, resize=TerminalResize(70, 20, 3)))
        await eventually(lambda: len(received) == 4)
        await api.supervisor.say(messages.Progress(JOB_ID, 3, replace(FINAL_JOB, spec=SPEC, log_size=3)))
        await attaching
    sizes = [(each.resized.columns, each.resized.log_offset) for each in received if each.HasField("resized")]
    assert sizes == [(92, 2), (93, 3), (70, 3)]
    assert [each.WhichOneof("kind") for each in received[:2]] == ["resized", "resized"]
    assert b"".join(each.output.payload for each in received) == b"t"


async def test_a_job_without_a_terminal_has_no_size(api: Api) -> None:
    api.supervisor.script = lambda _: messages.OneJob(replace(FINAL_JOB, log_size=0))
    async with api.client() as client:
        call = client.stub.AttachJob()
        await call.write(start(offset=0))
        kinds = [message.WhichOneof("kind") async for message in call]
    assert kinds == ["output"]
