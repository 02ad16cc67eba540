"""The changes of all jobs in an API process."""

from jobworkerd.protocol import messages
from jobworkerd.protocol.change_log import ChangeLog
from jobworkerd.protocol.waiters import Waiters


class JobFeed:
    """The log of changes that all watchers of this process share."""

    def __init__(self, start: messages.Watching) -> None:
        self.epoch = start.epoch
        self.log = ChangeLog(start.floor)
        self._first = start.revision
        self._waiters = Waiters()

    async def ready(self) -> None:
        """Wait until the changes before the start of the feed are here.

        Raises:
            SupervisorUnavailable: the supervisor is gone or does not answer.
        """
        await self.reached(self._first)

    async def reached(self, revision: int) -> None:
        """Wait until the changes up to a revision are here.

        Raises:
            SupervisorUnavailable: the supervisor is gone or does not answer.
        """
        while self.log.revision < revision:
            await self._waiters.wait()

    def take(self, notice: messages.Changes) -> None:
        """Add the changes of a notice, and wake the watchers."""
        self.log.skip_to(notice.after)
        for change in notice.changes:
            self.log.add(change)
        self._waiters.wake()

    def fail(self, error: Exception) -> None:
        """End all present and future waits with an error."""
        self._waiters.fail(error)
