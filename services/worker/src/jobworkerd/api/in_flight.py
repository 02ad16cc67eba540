"""The RPCs in flight, so that they can be ended from outside: each by an error of its own."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from jobworkerd.api.identity import Credential, Identities
from jobworkerd.errors import JobWorkerError, Unauthenticated


class _Call:
    """One RPC's task, and the error that ends it."""

    __slots__ = ("credential", "error", "task")

    def __init__(self, credential: Credential | None, task: "asyncio.Task[object]") -> None:
        self.credential = credential
        self.task = task
        self.error: JobWorkerError | None = None

    def end(self, error: JobWorkerError) -> None:
        if self.error is None:
            self.error = error
            self.task.cancel()


class CallsInFlight:
    """Knows the RPCs that were let in, and ends streams whose client is no longer authenticated."""

    def __init__(self, identities: Identities) -> None:
        self._identities = identities
        self._calls: set[_Call] = set()
        self._entered = 0

    @contextmanager
    def enter(self, credential: Credential | None) -> Iterator[None]:
        """Registers the current task while the context lasts.

        `credential` is for streams. Other RPCs are authenticated once: they end soon, and their client must
        learn what became of its request.
        """
        task = asyncio.current_task()
        assert task
        call = _Call(credential, task)
        self._calls.add(call)
        self._entered += 1
        try:
            yield
        except asyncio.CancelledError:
            # As with asyncio.timeout: a cancellation by anything else has precedence.
            if call.error is not None and task.uncancel() == 0:
                raise call.error from None
            raise
        finally:
            self._calls.discard(call)

    async def quiet(self, seconds: float) -> None:
        """Returns once no call has entered for some seconds."""
        seen = -1
        while seen != self._entered:
            seen = self._entered
            await asyncio.sleep(seconds)

    def end_all(self, error: JobWorkerError) -> None:
        """Ends every call with an error."""
        for call in list(self._calls):
            call.end(error)

    def check(self) -> None:
        """Ends each stream whose client's certificate is not valid any more."""
        for call in list(self._calls):
            if call.credential is not None:
                self._check(call, call.credential)

    def _check(self, call: _Call, credential: Credential) -> None:
        try:
            self._identities.check(credential)
        except Unauthenticated as error:
            call.end(error)
