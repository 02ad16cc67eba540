"""The state of a followed job in an API process."""

import asyncio

from jobworkerd.model import Job

_Waiters = set[asyncio.Future[None]]


class JobView:
    """The newest known state of a followed job: the size of its log and, at the end, the final job."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.log_size = job.log_size
        self._readers: _Waiters = set()
        # Separate from the readers: new output must not wake thousands of clients that wait for the end.
        self._waiters: _Waiters = set()
        self._error: Exception | None = None

    async def changed(self, log_size: int) -> None:
        """Wait until the log is longer than `log_size` or the job is final.

        Raises:
            SupervisorUnavailable: the supervisor is gone or does not answer.
        """
        while self.log_size <= log_size and not self.job.status.final:
            await self._wait(self._readers)

    async def ended(self) -> None:
        """Wait until the job is final.

        Raises:
            SupervisorUnavailable: the supervisor is gone or does not answer.
        """
        while not self.job.status.final:
            await self._wait(self._waiters)

    def update(self, log_size: int, job: Job | None) -> None:
        """Store a newer state and wake the readers, and at the end the waiters."""
        self.log_size = log_size
        if job:
            self.job = job
            _wake(self._waiters, None)
        _wake(self._readers, None)

    def fail(self, error: Exception) -> None:
        """End all present and future waits with an error."""
        self._error = error
        _wake(self._readers, error)
        _wake(self._waiters, error)

    async def _wait(self, waiters: _Waiters) -> None:
        if self._error:
            raise self._error
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiters.add(future)
        try:
            await future
        finally:
            waiters.discard(future)


def _wake(waiters: _Waiters, error: Exception | None) -> None:
    for future in waiters:
        if not future.done():
            if error:
                future.set_exception(error)
            else:
                future.set_result(None)
