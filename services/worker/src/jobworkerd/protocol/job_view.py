"""The state of a followed job in an API process."""

from jobworkerd.model import Job
from jobworkerd.protocol.waiters import Waiters


class JobView:
    """The newest known state of a followed job: the size of its log and, at the end, the final job."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.log_size = job.log_size
        self._readers = Waiters()
        # Separate from the readers: new output must not wake thousands of clients that wait for the end.
        self._waiters = Waiters()

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

    def update(self, log_size: int, job: Job | None) -> None:
        """Store a newer state and wake the readers, and at the end the waiters."""
        self.log_size = log_size
        if job:
            self.job = job
            self._waiters.wake()
        self._readers.wake()

    def fail(self, error: Exception) -> None:
        """End all present and future waits with an error."""
        self._readers.fail(error)
        self._waiters.fail(error)
