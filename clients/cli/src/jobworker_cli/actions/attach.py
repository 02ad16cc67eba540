"""`jobworker attach`: show the output of a job and pass input to it."""

import asyncio
import sys

from jobworker.v1 import job_attach_pb2, job_pb2, job_service_pb2
from jobworker_cli.output import print_message
from jobworker_cli.results import exit_code, print_termination
from jobworker_cli.settings.connect import resolve_job_id
from jobworker_cli.stream.earlier_output import read_earlier_output
from jobworker_cli.stream.follow import copy_stream, open_attached, start_offset
from jobworker_cli.stream.local_terminal import copy_terminal
from jobworker_cli.stream.output_writer import OutputWriter, open_writer
from jobworker_cli.stream.signals import cancel_and_wait, catch_signals, wait_for_signal
from jobworker_cli.stream.stdin import read_stdin
from jobworker_client import Client

__all__ = ["attach_job"]


async def attach_job(
    client: Client,
    ref: str,
    position: job_service_pb2.GetJobsStreamRequest | None,
    *,
    detach_keys: str,
    take_over: bool,
) -> int:
    """Attach to a job until it ends or the user detaches, and return the exit code.

    The output starts where that of the request `position` does, or is new output.
    """
    job = await client.get(await resolve_job_id(client, ref))
    start = job_attach_pb2.AttachStart(id=job.id, take_over=take_over)
    if position is None:
        start.tail_bytes = 0
    else:
        position.id = job.id
        start.offset = await start_offset(client, position)
    with catch_signals() as signals, open_writer() as writer:
        if job.HasField("terminal") and sys.stdin.isatty():
            attached = _show_terminal(client, start, writer, detach_keys)
        else:
            attached = _copy(client, start, writer, job)
        copying = asyncio.create_task(attached)
        number = await wait_for_signal(copying, signals)
        if number is not None:
            await cancel_and_wait(copying)
    final = None if number is not None else copying.result()
    if final is None:
        print_message(f"jobworker: detached from job {job.id}; the job continues")
        return 0 if number is None else 128 + number
    print_termination(final)
    return exit_code(final, preserve_status=False)


async def _show_terminal(
    client: Client, start: job_attach_pb2.AttachStart, writer: OutputWriter, detach_keys: str
) -> job_pb2.Job | None:
    only_new = start.HasField("tail_bytes")
    earlier = await read_earlier_output(client, start.id, None if only_new else start.offset)
    if only_new:
        start.ClearField("tail_bytes")
        start.offset = earlier.end
    start.redraw = True
    return await copy_terminal(client, start, writer, detach_keys, earlier)


async def _copy(
    client: Client, start: job_attach_pb2.AttachStart, writer: OutputWriter, job: job_pb2.Job
) -> job_pb2.Job:
    reads = job.HasField("terminal") or job.stdin != job_pb2.JOB_STDIN_NONE
    return await copy_stream(open_attached(client, start, read_stdin() if reads else None), writer.write)
