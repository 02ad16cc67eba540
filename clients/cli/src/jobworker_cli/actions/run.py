"""`jobworker run`: create a job, copy its output and input, and stop it on Ctrl-C."""

import asyncio
import contextlib
import errno
import os
import signal
from collections.abc import AsyncIterable

from jobworker.v1 import job_attach_pb2, job_pb2, job_service_pb2
from jobworker_cli.actions.create import create
from jobworker_cli.actions.queue import report_position
from jobworker_cli.errors import CliError
from jobworker_cli.files.pack import UploadFailed
from jobworker_cli.files.transfer import Transfer
from jobworker_cli.output import print_message
from jobworker_cli.render.error_messages import to_cli_error
from jobworker_cli.render.limits import unenforced
from jobworker_cli.results import UNKNOWN, command_error_code, exit_code, print_termination
from jobworker_cli.settings.options import RunOptions
from jobworker_cli.stream.earlier_output import EarlierOutput
from jobworker_cli.stream.follow import copy_stream, open_attached, open_stream
from jobworker_cli.stream.local_terminal import copy_terminal, terminal_size
from jobworker_cli.stream.output_writer import OutputWriter, open_writer
from jobworker_cli.stream.signals import SignalQueue, cancel_and_wait, catch_signals, wait_for_signal
from jobworker_cli.stream.stdin import has_unread_stdin, read_stdin
from jobworker_client import Client, CommandNotStarted, ErrorReason, JobStream, JobWorkerError
from jobworker_client.errors import reason_name

__all__ = ["run_detached", "run_job"]

# The reason of a stream whose position is that of an earlier attempt.
PAST_THE_END = reason_name(ErrorReason.ERROR_REASON_OFFSET_OUT_OF_RANGE)


async def run_job(
    client: Client,
    request: job_service_pb2.CreateJobRequest,
    options: RunOptions,
    transfer: Transfer | None = None,
) -> int:
    """Create a job, copy its output and, if requested, its input and files; return its exit code."""
    _request_input(request, options)
    if transfer is not None:
        transfer.wrap(request)
    with catch_signals() as signals, open_writer() as writer:
        run = Run(client, request, writer, options, transfer)
        return await _run_until_detached(run, signals, preserve_status=options.preserve_status)


async def run_detached(client: Client, request: job_service_pb2.CreateJobRequest, options: RunOptions) -> int:
    """Create a job, and print its id."""
    _request_input(request, options)
    print((await _create(client, request)).id)
    return 0


def _request_input(request: job_service_pb2.CreateJobRequest, options: RunOptions) -> None:
    if options.terminal:
        columns, rows = terminal_size()
        term = os.environ.get("TERM", "")
        request.terminal.CopyFrom(job_pb2.JobTerminal(columns=columns, rows=rows, term=term))
        # Shells in a terminal ignore SIGTERM.
        request.stop_signal = request.stop_signal or "SIGHUP"
    elif options.interactive:
        request.stdin = job_pb2.JOB_STDIN_OPEN if options.detach else job_pb2.JOB_STDIN_ONCE


class Run:
    """One job, from its creation to its end."""

    def __init__(
        self,
        client: Client,
        request: job_service_pb2.CreateJobRequest,
        writer: OutputWriter,
        options: RunOptions,
        transfer: Transfer | None,
    ) -> None:
        self.problems: list[str] = []
        """The transfers that failed, with their reasons."""
        self._client = client
        self._request = request
        self._writer = writer
        self._options = options
        self._transfer = transfer
        self._job_id: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    @property
    def job_name(self) -> str:
        """The job id, or a hint while the server has not sent it."""
        return self._job_id.result() if self._job_id.done() else "(see `jobworker list`)"

    @property
    def shows_terminal(self) -> bool:
        """Whether the local terminal shows that of the job, so that Ctrl-C is input of the job."""
        return self._options.interactive and self._options.terminal

    async def run(self) -> job_pb2.Job | None:
        """Create the job, copy its output, and return the final job; None if the user has detached."""
        job = await _create(self._client, self._request)
        self._job_id.set_result(job.id)
        reporting = asyncio.create_task(self._report_start(job))
        try:
            if self.shows_terminal:
                # In raw mode, Ctrl-C could not remove the job from the queue.
                await reporting
                return await self._copy_terminal(job.id)
            return await self._copy(job.id, reporting)
        except UploadFailed:
            await self.stop()
            raise
        except OSError as error:
            # A local command would end by SIGPIPE or SIGHUP.
            if error.errno in {errno.EPIPE, errno.EIO}:
                await self.stop()
            raise
        finally:
            await cancel_and_wait(reporting)

    async def _copy_terminal(self, job_id: str) -> job_pb2.Job | None:
        start = job_attach_pb2.AttachStart(id=job_id)
        keys = self._options.detach_keys
        return await copy_terminal(self._client, start, self._writer, keys, EarlierOutput())

    async def _copy(self, job_id: str, reporting: asyncio.Task[None]) -> job_pb2.Job:
        job = await self._copy_all(job_id)
        if not reporting.done():  # a short job can end before the report of its start arrives
            _warn_about_unenforced(job)
        return job

    async def _copy_all(self, job_id: str) -> job_pb2.Job:
        if self._transfer is None:
            return await self._copy_attempts(job_id)
        with contextlib.closing(self._transfer.receiver(self._writer.write)) as receiver:
            job = await copy_stream(self._open_stream(job_id), receiver.write)
            self.problems = await receiver.finish()
        return job

    async def _copy_attempts(self, job_id: str) -> job_pb2.Job:
        """Copy the output. If the cluster starts the job again, copy that of the new attempt, too.

        The input cannot be repeated, so a job with input ends with an error then.
        """
        while True:
            try:
                return await copy_stream(self._open_stream(job_id), self._writer.write)
            except CliError as error:
                repeatable = self._request.retry_on_lost and not self._options.interactive
                if not repeatable or error.reason != PAST_THE_END:
                    raise
                print_message(
                    "jobworker: the cluster has started the job again; its output starts from the beginning"
                )

    def _open_stream(self, job_id: str) -> JobStream:
        stdin: AsyncIterable[bytes] | None = read_stdin() if self._options.interactive else None
        if stdin is None and has_unread_stdin():
            print_message("jobworker: the job does not read stdin; use `run -i` to pass it")
        if self._transfer is not None:
            stdin = self._transfer.stdin(stdin)
        if stdin is not None:
            return open_attached(self._client, job_attach_pb2.AttachStart(id=job_id), stdin)
        return open_stream(self._client, job_service_pb2.GetJobsStreamRequest(id=job_id, follow=True))

    async def _report_start(self, job: job_pb2.Job) -> None:
        """Print the position of a queued job until it starts, and the limits that are not in force."""
        _warn_about_unenforced(await report_position(self._client, job))

    async def stop(self) -> None:
        """Stop the job, as soon as its id is known; print a failure."""
        job_id = await asyncio.shield(self._job_id)
        try:
            await self._client.stop(job_id)
        except JobWorkerError as error:
            print_message(f"jobworker: cannot stop the job: {error}")


async def _create(client: Client, request: job_service_pb2.CreateJobRequest) -> job_pb2.Job:
    try:
        return await create(client, request)
    except CommandNotStarted as error:
        converted = to_cli_error(error)
        for violation in error.fields:  # one
            converted.exit_code = command_error_code(violation.field, error.metadata.get("errno", ""))
        raise converted from error


async def _run_until_detached(run: Run, signals: SignalQueue, *, preserve_status: bool) -> int:
    """Return the exit code. The first signal stops the job, the second detaches from it."""
    running = asyncio.create_task(run.run())
    if await wait_for_signal(running, signals) is not None:
        hint = "" if run.shows_terminal else ". Press Ctrl-C again to detach; the job keeps running."
        print_message(f"jobworker: stopping the job{hint}")
        stopping = asyncio.create_task(run.stop())
        while (number := await wait_for_signal(running, signals)) is signal.SIGHUP:
            pass  # several processes can report that the terminal has hung up
        await cancel_and_wait(stopping)
        if number is not None:
            await cancel_and_wait(running)
            print_message(f"jobworker: detached from job {run.job_name}; the server may still stop it")
            return 128 + number
    job = running.result()
    if job is None:
        print_message(f"jobworker: detached from job {run.job_name}; the job keeps running")
        return 0
    print_termination(job)
    code = exit_code(job, preserve_status=preserve_status)
    for problem in run.problems:
        print_message(f"error: {problem}")
    return code or (UNKNOWN if run.problems else 0)


def _warn_about_unenforced(job: job_pb2.Job) -> None:
    if names := unenforced(job):
        print_message(f"jobworker: not in force: {', '.join(names)}; for details: jobworker get {job.id}")
