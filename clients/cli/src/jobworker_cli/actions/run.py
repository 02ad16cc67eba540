"""`jobworker run`: a job from its creation to its end, and what Ctrl-C does to it."""

import asyncio

from jobworker.v1 import job_pb2, job_service_pb2
from jobworker_cli.actions.create import create
from jobworker_cli.output import say
from jobworker_cli.render.error_messages import to_cli_error
from jobworker_cli.results import exit_code, tell_ending
from jobworker_cli.stream.follow import follow, open_stream
from jobworker_cli.stream.signals import Pressed, abandon, caught_signals, signal_before_end
from jobworker_cli.stream.sink import Sink, open_sink
from jobworker_client import Client, CommandNotStarted, JobWorkerError

__all__ = ["run_job"]

# As of a shell that cannot run a command (POSIX, "Exit Status for Commands"), and of `docker run`.
NOT_EXECUTABLE = 126
NOT_FOUND = 127


async def run_job(client: Client, request: job_service_pb2.CreateJobRequest, *, preserve_status: bool) -> int:
    """Creates the job, shows its output and returns its exit code."""
    with caught_signals() as pressed, open_sink() as sink:
        session = Session(client, request, sink)
        return await _attend(session, pressed, preserve_status=preserve_status)


class Session:
    """One job from its creation to its end."""

    def __init__(self, client: Client, request: job_service_pb2.CreateJobRequest, sink: Sink) -> None:
        self._client = client
        self._request = request
        self._sink = sink
        self._created: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    @property
    def name(self) -> str:
        """The job's id, or how to find it while there is none."""
        return self._created.result() if self._created.done() else "(see `jobworker list`)"

    async def run(self) -> job_pb2.Job:
        """Creates the job, hands on its output and returns it in its final status."""
        job = await self._create()
        self._created.set_result(job.id)
        _warn_of_what_is_missing(job)
        try:
            wanted = job_service_pb2.GetJobsStreamRequest(id=job.id, follow=True)
            return await follow(open_stream(self._client, wanted), self._sink.write)
        except BrokenPipeError:
            # A command of this shell would get SIGPIPE with its next write.
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stops the job as soon as there is one; a failure is told, not raised."""
        job_id = await asyncio.shield(self._created)
        try:
            await self._client.stop(job_id)
        except JobWorkerError as error:
            say(f"jobworker: cannot stop the job: {error}")

    async def _create(self) -> job_pb2.Job:
        try:
            return await create(self._client, self._request)
        except CommandNotStarted as error:
            known = to_cli_error(error)
            # A working directory that is not there is no fault of the command: 125, as of `env -C`.
            if "command" in {refused.field for refused in error.fields}:
                known.exit_code = NOT_FOUND if error.metadata.get("errno") == "ENOENT" else NOT_EXECUTABLE
            raise known from error


async def _attend(session: Session, pressed: Pressed, *, preserve_status: bool) -> int:
    """Returns the exit code, with a first signal for the job and a second one for us."""
    work = asyncio.create_task(session.run())
    if await signal_before_end(work, pressed) is not None:
        say("jobworker: stopping the job; once more, and it is left alone")
        stopping = asyncio.create_task(session.stop())
        number = await signal_before_end(work, pressed)
        await abandon(stopping)
        if number is not None:
            await abandon(work)
            say(f"jobworker: left job {session.name}; it goes on, or goes on being stopped")
            return 128 + number
    job = work.result()
    tell_ending(job)
    return exit_code(job, preserve_status=preserve_status)


def _warn_of_what_is_missing(job: job_pb2.Job) -> None:
    missing = [limit.limit for limit in job.limits_applied if not limit.in_force]
    missing += [part.part for part in job.isolation_applied if not part.in_force]
    if missing:
        say(f"jobworker: not in force: {', '.join(missing)}; `jobworker get {job.id}` says why")
