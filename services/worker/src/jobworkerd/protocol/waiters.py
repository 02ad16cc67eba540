"""Tasks that wait for the same event."""

import asyncio


class Waiters:
    """The tasks that wait for the next event, or for an error, which ends all present and future waits."""

    def __init__(self) -> None:
        self._futures: set[asyncio.Future[None]] = set()
        self._error: Exception | None = None

    def __len__(self) -> int:
        """Return the number of waiting tasks."""
        return len(self._futures)

    async def wait(self) -> None:
        """Wait for the next event.

        Raises:
            Exception: the error of `fail`.
        """
        if self._error:
            raise self._error
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._futures.add(future)
        try:
            await future
        finally:
            self._futures.discard(future)

    def wake(self) -> None:
        """Wake all tasks."""
        for future in self._futures:
            if not future.done():
                future.set_result(None)

    def fail(self, error: Exception) -> None:
        """End all waits with an error."""
        self._error = error
        for future in self._futures:
            if not future.done():
                future.set_exception(error)
