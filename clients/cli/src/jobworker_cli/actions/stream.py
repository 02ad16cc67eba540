"""`jobworker stream`: copy output until the job ends or the user presses Ctrl-C."""

import asyncio

import typer
from google.protobuf.timestamp_pb2 import Timestamp

from jobworker.v1 import job_output_pb2, job_service_pb2
from jobworker_cli.output import print_message
from jobworker_cli.render.times import parse_time_option
from jobworker_cli.results import exit_code, print_termination
from jobworker_cli.settings.connect import resolve_job_id
from jobworker_cli.stream.follow import copy_stream, open_stream, stream_command
from jobworker_cli.stream.output_writer import open_writer
from jobworker_cli.stream.signals import cancel_and_wait, catch_signals, wait_for_signal
from jobworker_cli.stream.timestamps import TimestampWriter
from jobworker_client import Client

__all__ = ["parse_since", "select_source", "stream_job"]


def select_source(*, stdout_only: bool, stderr_only: bool) -> job_output_pb2.OutputSource.ValueType:
    """Return the source for the two options; unspecified selects both."""
    if stdout_only and stderr_only:
        raise typer.BadParameter("use only one of the two", param_hint="--stdout-only / --stderr-only")
    if stdout_only:
        return job_output_pb2.OUTPUT_SOURCE_STDOUT
    return job_output_pb2.OUTPUT_SOURCE_STDERR if stderr_only else job_output_pb2.OUTPUT_SOURCE_UNSPECIFIED


def parse_since(text: str | None) -> Timestamp | None:
    """Parse the value of `--since`."""
    return None if text is None else parse_time_option(text, "--since")


async def stream_job(
    client: Client,
    ref: str,
    request: job_service_pb2.GetJobsStreamRequest,
    *,
    timestamps: bool,
    preserve_status: bool,
) -> int:
    """Copy the output for a request and return the exit code of the job."""
    request.id = await resolve_job_id(client, ref)
    stream = open_stream(client, request)
    with catch_signals() as signals, open_writer() as writer:
        write = TimestampWriter(writer.write).write if timestamps else writer.write
        copying = asyncio.create_task(copy_stream(stream, write))
        number = await wait_for_signal(copying, signals)
        if number is not None:
            await cancel_and_wait(copying)
            written = writer.close()
            # With timestamps, the written bytes are not log bytes: a partly written message is repeated.
            rest = stream.request
            rest.offset += 0 if timestamps else written
            print_message(
                f"jobworker: the job continues. To resume: `{stream_command(rest)}`; "
                f"to stop the job: `jobworker stop {request.id}`"
            )
            return 128 + number
        job = copying.result()
    print_termination(job)
    return exit_code(job, preserve_status=preserve_status)
