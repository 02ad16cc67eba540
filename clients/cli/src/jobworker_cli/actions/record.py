"""`jobworker record`: export the output of a job with its times."""

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path

from jobworker.v1 import job_pb2, job_service_pb2
from jobworker_cli.output import print_message
from jobworker_cli.settings.connect import resolve_job_id
from jobworker_cli.stream.asciicast import AsciicastWriter
from jobworker_cli.stream.follow import copy_stream, open_stream
from jobworker_cli.stream.output_writer import open_writer
from jobworker_cli.stream.signals import cancel_and_wait, catch_signals, wait_for_signal
from jobworker_client import Chunk, Client

__all__ = ["record_job"]


async def record_job(client: Client, ref: str, output: Path | None) -> int:
    """Write the recording of a job to a file or to stdout until the job ends or the user presses Ctrl-C."""
    job = await client.get(await resolve_job_id(client, ref))
    with _stdout_to(output), catch_signals() as signals, open_writer() as writer:
        recording = asyncio.create_task(_record(client, job, AsciicastWriter(job, writer.write)))
        number = await wait_for_signal(recording, signals)
        if number is not None:
            await cancel_and_wait(recording)
            print_message(f"jobworker: the recording has no end, because job {job.id} continues")
            return 128 + number
        recording.result()
    return 0


@contextlib.contextmanager
def _stdout_to(output: Path | None) -> Iterator[None]:
    if output is None:
        yield
        return
    with output.open("w") as file, contextlib.redirect_stdout(file):
        yield


async def _record(client: Client, job: job_pb2.Job, writer: AsciicastWriter) -> None:
    await writer.begin()

    async def write(message: Chunk) -> None:
        # The record has the sizes of the terminal up to its `log_size`.
        if job.HasField("terminal") and message.next_offset > writer.job.log_size:
            writer.job = await client.get(job.id)
        await writer.write(message)

    request = job_service_pb2.GetJobsStreamRequest(id=job.id, follow=True)
    await writer.end(await copy_stream(open_stream(client, request), write))
