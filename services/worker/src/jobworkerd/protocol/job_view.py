"""The state of a followed job in an API process."""

import asyncio

from jobworkerd.model import Job


class JobView:
    """The newest known state of a followed job: the size of its log and, at the end, the final job."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.log_size = job.log_size
        self._waiting: set[asyncio.Future[None]] = set()
        self._error: Exception | None = None

    async def changed(self, log_size: int) -> None:
        """Wait until the log is longer than `log_size` or the job is final.

        Raises:
            SupervisorUnavailable: the supervisor is gone or does not answer.
        """
        while self.log_size <= log_size and not self.job.status.final:
            if self._error:
                raise self._error
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.add(future)
            try:
                await future
            finally:
                self._waiting.discard(future)

    async def ended(self) -> None:
        """Wait until the job is final."""
        while not self.job.status.final:
            await self.changed(self.log_size)

    def update(self, log_size: int, job: Job | None) -> None:
        """Store a newer state, and wake all waiters."""
        self.log_size = log_size
        if job:
            self.job = job
        self._wake(None)

    def fail(self, error: Exception) -> None:
        """End all present and future waits with an error."""
        self._error = error
        self._wake(error)

    def _wake(self, error: Exception | None) -> None:
        for future in self._waiting:
            if not future.done():
                if error:
                    future.set_exception(error)
                else:
                    future.set_result(None)
