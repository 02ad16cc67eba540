"""The state of a followed job in an API process."""

from collections.abc import Sequence

from jobworkerd.model import Job
from jobworkerd.protocol.waiters import Waiters
from jobworkerd.terminal import Resizes, TerminalResize, add_resize


class JobView:
    """The newest known state of a followed job: the size of its log and of its terminal and, at the end, the
    final job.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self.log_size = job.log_size
        self.resizes: Resizes = job.terminal_resizes
        self._readers = Waiters()
        # Separate from the readers: new output must not wake thousands of clients that wait for the end.
        self._waiters = Waiters()
        self._viewers = Waiters()

    async def changed(self, log_size: int) -> None:
        """Wait until the log is longer than `log_size` or the job is final.

        Raises:
            SupervisorUnavailable: the supervisor is gone or does not answer.
        """
        while self.log_size <= log_size and not self.job.status.final:
            await self._readers.wait()

    async def ended(self) -> None:
        """Wait until the job is final.

        Raises:
            SupervisorUnavailable: the supervisor is gone or does not answer.
        """
        while not self.job.status.final:
            await self._waiters.wait()

    async def resized(self, after: TerminalResize) -> Sequence[TerminalResize]:
        """Wait for changes of the terminal's size after a known one, and return them.

        Raises:
            SupervisorUnavailable: the supervisor is gone or does not answer.
        """
        while not (later := [each for each in self.resizes if _follows(each, after)]):
            await self._viewers.wait()
        return later

    def update(self, log_size: int, job: Job | None, resize: TerminalResize | None = None) -> None:
        """Store a newer state and wake the readers. A resize wakes the viewers, the end the waiters."""
        self.log_size = log_size
        if resize and resize not in self.resizes[-1:]:
            self._set_resizes(add_resize(self.resizes, resize))
        if job:
            self.job = job
            if job.terminal_resizes != self.resizes:
                self._set_resizes(job.terminal_resizes)
            self._waiters.wake()
        self._readers.wake()

    def _set_resizes(self, resizes: Resizes) -> None:
        self.resizes = resizes
        self._viewers.wake()

    def fail(self, error: Exception) -> None:
        """End all present and future waits with an error."""
        self._readers.fail(error)
        self._waiters.fail(error)
        self._viewers.fail(error)


def _follows(resize: TerminalResize, known: TerminalResize) -> bool:
    """Tell whether a change is later than a known one, or has replaced it."""
    return resize.log_offset >= known.log_offset and resize != known
