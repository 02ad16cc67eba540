"""What an API process knows of a job that it follows."""

import asyncio

from jobworkerd.model import Job


class JobView:
    """A followed job: its log's size and, once it is final, the job. Always the newest that is known."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.log_size = job.log_size
        self._waiting: set[asyncio.Future[None]] = set()
        self._error: Exception | None = None

    async def changed(self, log_size: int) -> None:
        """Returns once the log is longer than `log_size`, or the job is final.

        Raises:
            SupervisorUnavailable: no newer state will come to this view.
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
        """Returns once the job is final."""
        while not self.job.status.final:
            await self.changed(self.log_size)

    def update(self, log_size: int, job: Job | None) -> None:
        """Takes a newer state."""
        self.log_size = log_size
        if job:
            self.job = job
        self._wake(None)

    def fail(self, error: Exception) -> None:
        """Ends all waits with an error, now and from now on."""
        self._error = error
        self._wake(error)

    def _wake(self, error: Exception | None) -> None:
        for future in self._waiting:
            if not future.done():
                if error:
                    future.set_exception(error)
                else:
                    future.set_result(None)
