"""The connections to the apiserver, with the credentials in the kubeconfig as it is now."""

import time
from collections.abc import Callable
from pathlib import Path

import aiohttp

from jobworker_cluster.access import Access, InvalidKubeconfig, read_access
from jobworker_cluster.replaced_files import UnusableFiles, version

_CONNECTIONS = 100
_MAX_OBJECT_BYTES = 1 << 21
"""More than the largest object. aiohttp cannot read longer lines than its buffer, and a watch sends one per
object.
"""
_FORMER_SECONDS = 60.0
"""Time for which calls in progress keep a session with former credentials: more than a watch takes."""


class KubeSessions:
    """The sessions for new calls, and those with former credentials for calls in progress.

    `urgent` is for few calls that must not wait for the others. It has its own connections: those of
    `current` can all be in use. After a cut of the network, each of them also costs a call to find it broken.
    """

    def __init__(
        self, access: Access, kubeconfig: Path | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`access` is that of `kubeconfig`, or of the service account. The first call connects."""
        self.access = access
        self.current, self.urgent = _open(access), _open(access)
        self._kubeconfig = kubeconfig
        self._clock = clock
        self._version = version(access.files)
        self._unusable = UnusableFiles()
        self._former: list[tuple[float, aiohttp.ClientSession]] = []

    async def close(self) -> None:
        """Close all connections."""
        for each in (self.current, self.urgent, *(session for _, session in self._former)):
            await each.close()

    async def refresh(self) -> bool:
        """Use files that have changed for new calls, and return whether they have. Other calls continue.

        Raises:
            InvalidKubeconfig: the new files cannot be used. It is raised once for each change.
        """
        await self._close_former()
        current = version(self.access.files)
        if current == self._version:
            return False
        try:
            access = read_access(self._kubeconfig)
        except InvalidKubeconfig:
            if self._unusable.is_due(current):
                raise
            return False
        self._unusable.clear()
        # A file that is replaced while it is read has a later version.
        self._version = current if access.files == self.access.files else version(access.files)
        end = self._clock() + _FORMER_SECONDS
        self._former += [(end, self.current), (end, self.urgent)]
        self.access, self.current, self.urgent = access, _open(access), _open(access)
        return True

    async def _close_former(self) -> None:
        now = self._clock()
        due = [session for end, session in self._former if end <= now]
        self._former = [each for each in self._former if each[0] > now]
        for session in due:
            await session.close()


def _open(access: Access) -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(limit=_CONNECTIONS, ssl=access.context)
    # With `trust_env`, aiohttp would look for ~/.netrc and for proxies in a thread before each request.
    return aiohttp.ClientSession(connector=connector, proxy=access.proxy, read_bufsize=_MAX_OBJECT_BYTES)
