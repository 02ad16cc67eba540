"""Fault injection: makes the n-th system call fail, like on a host that runs out of a resource."""

import asyncio
import errno
import fcntl
import os
import select
import socket
from collections.abc import Callable
from typing import Any

_DESCRIPTOR_CALLS: tuple[tuple[Any, str], ...] = (
    (os, "open"),
    (os, "pipe2"),
    (os, "memfd_create"),
    (os, "pidfd_open"),
    (os, "scandir"),
    (os, "listdir"),
    (os, "posix_spawn"),
    (socket, "socketpair"),
)
"""Calls that return a descriptor or use one temporarily."""

_OTHER_CALLS: tuple[tuple[Any, str], ...] = (
    (os, "mkdir"),
    (os, "rmdir"),
    (os, "rename"),
    (os, "unlink"),
    (os, "write"),
    (os, "pread"),
    (os, "pwrite"),
    (os, "readv"),
    (os, "splice"),
    (os, "sendfile"),
    (os, "fchown"),
    (os, "posix_fallocate"),
    (socket, "send_fds"),
    (fcntl, "fcntl"),
    (fcntl, "ioctl"),
)
"""Calls on descriptors and paths that need memory or space."""

_IMPOSSIBLE: dict[int, set[str]] = {
    errno.EMFILE: {name for _, name in _OTHER_CALLS} | {"add_reader", "register"},
    errno.ENFILE: {name for _, name in _OTHER_CALLS} | {"add_reader", "register"},
    errno.EAGAIN: {"readv", "splice", "sendfile", "pread", "write", "send_fds"},
}
"""Calls that never fail with this error, or only if a descriptor is not ready."""


class Faults:
    """Counts calls while armed, and makes one of them fail.

    A lasting fault also makes all later calls that need a descriptor fail.
    """

    def __init__(self) -> None:
        self.calls = 0
        self.failed: list[str] = []
        self._at: int | None = None
        self._errno = 0
        self._lasting = False
        self._on_failure: Callable[[], object] = lambda: None

    def install(self, patch: Callable[[Any, str, object], None]) -> None:
        """Wrap the calls with a function such as `pytest.MonkeyPatch.setattr`."""
        for module, name in _DESCRIPTOR_CALLS:
            patch(module, name, self.wrapped(name, getattr(module, name), takes_descriptor=True))
        for module, name in _OTHER_CALLS:
            patch(module, name, self.wrapped(name, getattr(module, name)))

    def install_in_loop(
        self, patch: Callable[[Any, str, object], None], loop: asyncio.AbstractEventLoop, watcher: Any
    ) -> None:
        """Wrap the functions that register descriptors with an epoll."""
        patch(loop, "add_reader", self.wrapped("add_reader", loop.add_reader))
        patch(watcher, "_epoll", _Epoll(watcher._epoll, self))

    def arm(
        self,
        at: int,
        number: int,
        *,
        lasting: bool = False,
        on_failure: Callable[[], object] = lambda: None,
    ) -> None:
        """Make the call with the index `at` fail with the errno `number`; a negative index only counts calls.

        `on_failure` runs at the first failure.
        """
        self.calls, self.failed = 0, []
        self._on_failure = on_failure
        self._at, self._errno, self._lasting = at, number, lasting

    def disarm(self) -> None:
        """Let all later calls succeed."""
        self._at = None

    def wrapped(
        self, name: str, function: Callable[..., Any], *, takes_descriptor: bool = False
    ) -> Callable[..., Any]:
        """Return a function that counts the call, and then fails or calls `function`."""

        def call(*args: Any, **kwargs: Any) -> Any:
            if self._at is None:
                return function(*args, **kwargs)
            self._count(name, takes_descriptor=takes_descriptor)
            # Nested calls within the standard library do not count.
            at, self._at = self._at, None
            try:
                return function(*args, **kwargs)
            finally:
                self._at = at

        return call

    def _count(self, name: str, *, takes_descriptor: bool) -> None:
        assert self._at is not None
        if name in _IMPOSSIBLE.get(self._errno, ()):
            return
        index, self.calls = self.calls, self.calls + 1
        later = self._lasting and takes_descriptor and 0 <= self._at < index
        if index == self._at or later:
            if not self.failed:
                self._on_failure()
            self.failed.append(name)
            raise OSError(self._errno, os.strerror(self._errno), name)


class _Epoll:
    """An epoll whose `register` can fail. The type select.epoll cannot be patched."""

    def __init__(self, epoll: select.epoll, faults: Faults) -> None:
        self._epoll = epoll
        self.register = faults.wrapped("register", epoll.register)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._epoll, name)
