"""Connects clients with the stdin of jobs, and passes their signals on."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass

from jobworkerd.errors import JobNotRunning, NoStdin
from jobworkerd.model import Job, JobStatus, Stdin
from jobworkerd.protocol import input_messages, messages
from jobworkerd.supervisor.job_events import JobEvents
from jobworkerd.supervisor.job_input import Feeder, JobInput
from jobworkerd.supervisor.job_terminal import JobTerminal, Size
from jobworkerd.supervisor.live_job import LiveJob


@dataclass(frozen=True)
class _Attachment:
    stdin: JobInput
    feeder: Feeder


class JobInputs:
    """Finds the stdin of a job, as soon as the job runs."""

    def __init__(
        self, get: Callable[[str], Job], live_job: Callable[[str], LiveJob], events: JobEvents
    ) -> None:
        """`get` returns a job in its current state, and `live_job` a running job."""
        self._get = get
        self._live_job = live_job
        self._events = events
        self._waiting: dict[str, set[asyncio.Future[None]]] = {}

    def job_changed(self, job_id: str) -> None:
        """Continue the calls that wait for the start of a job."""
        for waiting in self._waiting.pop(job_id, ()):
            if not waiting.done():
                waiting.set_result(None)

    def session(self) -> "InputSession":
        """Return the attachments of a new API process."""
        return InputSession(self)

    async def find(self, job_id: str) -> JobInput | None:
        """Return the stdin of a job when the job runs; None if the job has ended.

        Raises:
            JobNotFound: no job has this id.
            NoStdin: the job reads /dev/null.
        """
        while not (job := self._get(job_id)).status.final:
            if job.spec.stdin is Stdin.NONE and not job.spec.terminal:
                raise NoStdin(job_id)
            if job.status is JobStatus.RUNNING:
                return self._live_job(job_id).stdin
            waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.setdefault(job_id, set()).add(waiting)
            await waiting
        return None

    def signal(self, request: input_messages.SignalJob) -> None:
        """Send a signal to the process group of a running job. A final job ignores it.

        Raises:
            JobNotFound: no job has this id.
            JobNotRunning: the job has not started.
        """
        job = self._get(request.job_id)
        if job.status.final:
            return
        if job.status is not JobStatus.RUNNING:
            raise JobNotRunning(job.id, job.status.value)
        self._events.signaled(job, request.subject, request.number)
        self._live_job(job.id).signal_foreground(request.number)


class InputSession:
    """The attachments of one API process, until `close`."""

    def __init__(self, inputs: JobInputs) -> None:
        self._inputs = inputs
        self._attachments: dict[int, _Attachment] = {}
        self._pending: set[int] = set()

    def handle(
        self, request: input_messages.InputRequest
    ) -> Coroutine[None, None, input_messages.InputAccepted | messages.Done]:
        """Handle a request.

        Raises:
            JobWorkerError: the input cannot be accepted.
            OSError: the host is exhausted.
        """
        match request:
            case input_messages.AttachInput():
                return self._attach(request)
            case input_messages.FeedInput(number, offset, data):
                return self._feed(number, offset, data)
            case input_messages.EndInput(number, offset):
                return self._end(number, offset)
            case input_messages.DetachInput(number):
                return self._detach(number)
            case input_messages.ResizeInput(number, size, redraw):
                return self._resized(number, size, redraw=redraw)
            case input_messages.SignalJob():
                return self._signal(request)

    async def _attach(self, request: input_messages.AttachInput) -> input_messages.InputAccepted:
        number = request.attachment
        self._pending.add(number)
        try:
            stdin = await self._inputs.find(request.job_id)
            if stdin is None or number not in self._pending:
                return input_messages.InputAccepted(0)
        finally:
            self._pending.discard(number)
        feeder = stdin.attach(request.input_id, take_over=request.take_over)
        self._attachments[number] = _Attachment(stdin, feeder)
        if request.size:
            self._resize(number, request.size, redraw=request.redraw)
        return input_messages.InputAccepted(stdin.accepted(feeder))

    async def _feed(self, number: int, offset: int, data: bytes) -> input_messages.InputAccepted:
        if attachment := self._attachments.get(number):
            return input_messages.InputAccepted(await attachment.stdin.feed(attachment.feeder, offset, data))
        return input_messages.InputAccepted(offset + len(data))  # the job has ended

    async def _end(self, number: int, offset: int) -> input_messages.InputAccepted:
        if attachment := self._attachments.get(number):
            await attachment.stdin.end(attachment.feeder, offset)
        return input_messages.InputAccepted(offset)

    async def _detach(self, number: int) -> messages.Done:
        self._detach_now(number)
        return messages.Done()

    async def _resized(self, number: int, size: Size, *, redraw: bool) -> messages.Done:
        self._resize(number, size, redraw=redraw)
        return messages.Done()

    def _resize(self, number: int, size: Size, *, redraw: bool = False) -> None:
        attachment = self._attachments.get(number)
        if attachment and isinstance(attachment.stdin, JobTerminal):
            attachment.stdin.resize(attachment.feeder, size, redraw=redraw)

    async def _signal(self, request: input_messages.SignalJob) -> messages.Done:
        self._inputs.signal(request)
        return messages.Done()

    def _detach_now(self, number: int) -> None:
        self._pending.discard(number)
        if attachment := self._attachments.pop(number, None):
            attachment.stdin.detach(attachment.feeder)

    def close(self) -> None:
        """End all attachments."""
        self._pending.clear()
        for number in tuple(self._attachments):
            self._detach_now(number)
