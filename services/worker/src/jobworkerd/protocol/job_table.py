"""The parts of the supervisor that a connection to an API process uses."""

from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Protocol

from jobworkerd.model import Job, JobSpec
from jobworkerd.protocol import input_messages, messages
from jobworkerd.protocol.job_changes import JobChanges
from jobworkerd.trace_context import TraceContext


class SpanQueue(Protocol):
    """The spans of final jobs that an API process exports."""

    def connected(self, send: Callable[[Job], None], *, exports: bool) -> None:
        """Add an API process that serves, and whether it exports spans."""

    def disconnected(self, send: Callable[[Job], None]) -> None:
        """Remove an API process."""

    def exported(self, job_ids: Iterable[str]) -> None:
        """Forget the spans of these jobs."""


class JobTable(Protocol):
    """The operations that the supervisor offers to API processes.

    Each method can raise a JobWorkerError, or an OSError if the host is exhausted.
    """

    @property
    def changes(self) -> JobChanges:
        """The numbered changes of all jobs."""

    @property
    def spans(self) -> SpanQueue:
        """The spans of final jobs."""

    async def start(self, spec: JobSpec, trace: TraceContext | None = None) -> Job:
        """Start a job and return it when its command runs, or let it wait and return it with its position."""

    def get(self, job_id: str, *, live_usage: bool = False) -> Job:
        """Return a job in its current state."""

    def progress(self, job_id: str) -> messages.Progress:
        """Return the notice of the current state of a job."""

    def list(self, request: messages.ListJobs) -> messages.JobPage:
        """Return a page of jobs."""

    def find(self, job_ids: Sequence[str]) -> messages.JobPage:
        """Return those jobs that exist."""

    async def stop(self, request: messages.StopJob) -> Job:
        """Stop a job, and return the final job."""

    def update(self, request: messages.UpdateJob) -> Job:
        """Change limits of a running job, and return it."""

    async def delete(self, request: messages.DeleteJob) -> None:
        """Delete a final job."""


class InputSession(Protocol):
    """The attachments of one API process to running jobs."""

    def handle(self, request: input_messages.InputRequest) -> Coroutine[None, None, messages.ReplyBody]:
        """Handle a request. It can raise a JobWorkerError, or an OSError if the host is exhausted."""

    def close(self) -> None:
        """End all attachments."""
