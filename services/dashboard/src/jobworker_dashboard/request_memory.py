"""Bounds the bytes of requests in memory, of each user and of all.

Each request has a separate bound, but a user can send thousands of them slowly and at the same time.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from jobworker_dashboard.connect_error import ConnectError

MAX_BYTES_PER_SUBJECT = 32 * 1024 * 1024
MAX_BYTES = 256 * 1024 * 1024
"""The packaged service has 1 GiB of memory."""


class Account:
    """The bytes of one call or stream."""

    def __init__(self, memory: "RequestMemory", subject: str) -> None:
        self._memory = memory
        self._subject = subject
        self._bytes = 0

    def take(self, count: int) -> None:
        """Count bytes that have arrived.

        Raises:
            ConnectError: the requests of the user, or of all users, have too many bytes.
        """
        self._memory.add(self._subject, count)
        self._bytes += count

    def give(self, count: int) -> None:
        """Count bytes that the server has accepted."""
        self._memory.remove(self._subject, count)
        self._bytes -= count

    def close(self) -> None:
        """Give all bytes back."""
        self.give(self._bytes)


class RequestMemory:
    """The bytes of all requests that the server has not accepted yet."""

    def __init__(self) -> None:
        self._by_subject: Counter[str] = Counter()
        self._total = 0

    @contextmanager
    def account(self, subject: str) -> Iterator[Account]:
        """Return the account of a call or a stream of a user."""
        account = Account(self, subject)
        try:
            yield account
        finally:
            account.close()

    def add(self, subject: str, count: int) -> None:
        """Count bytes of a user.

        Raises:
            ConnectError: the requests of the user, or of all users, have too many bytes.
        """
        for used, bound, whose in (
            (self._by_subject[subject], MAX_BYTES_PER_SUBJECT, subject),
            (self._total, MAX_BYTES, "all users"),
        ):
            if used + count > bound:
                why = f"more than {bound} bytes are in progress; retry when some requests have ended"
                raise ConnectError("resource_exhausted", f"requests of {whose}: {why}")
        self._by_subject[subject] += count
        self._total += count

    def remove(self, subject: str, count: int) -> None:
        """Count bytes that have left the memory."""
        self._total -= count
        self._by_subject[subject] -= count
        if not self._by_subject[subject]:
            del self._by_subject[subject]
