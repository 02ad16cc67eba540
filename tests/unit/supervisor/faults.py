"""Makes system calls fail: the n-th one, as on a host that runs out of something at the worst moment."""

import asyncio
import errno
import fcntl
import os
import select
import socket
import subprocess
from collections.abc import Callable
from typing import Any

_TAKING: tuple[tuple[Any, str], ...] = (
    (os, "open"),
    (os, "pipe2"),
    (os, "memfd_create"),
    (os, "pidfd_open"),
    (os, "scandir"),
    (os, "listdir"),
    (socket, "socketpair"),
)
"""Calls that return descriptors, or take one for a moment."""

_OTHERS: tuple[tuple[Any, str], ...] = (
    (os, "mkdir"),
    (os, "rmdir"),
    (os, "rename"),
    (os, "unlink"),
    (os, "write"),
    (os, "pread"),
    (os, "pwrite"),
    (os, "readv"),
    (os, "posix_fallocate"),
    (socket, "send_fds"),
    (fcntl, "fcntl"),
    (fcntl, "ioctl"),
)
"""Calls on descriptors and paths that need memory or space."""

_NEVER: dict[int, set[str]] = {
    errno.EMFILE: {name for _, name in _OTHERS} | {"add_reader", "register"},
    errno.ENFILE: {name for _, name in _OTHERS} | {"add_reader", "register"},
    errno.EAGAIN: {"readv", "pread", "write", "send_fds"},
}
"""Calls that do not have this error, or only for a descriptor that is not ready."""


class Faults:
    """Counts calls while it is armed, and has one of them fail; with `lasting`, all later ones that take a
    descriptor fail, too.
    """

    def __init__(self) -> None:
        self.calls = 0
        self.failed: list[str] = []
        self._at: int | None = None
        self._errno = 0
        self._lasting = False
        self._on_failure: Callable[[], object] = lambda: None

    def install(self, patch: Callable[[Any, str, object], None]) -> None:
        """Wraps the calls, with a function such as `pytest.MonkeyPatch.setattr`."""
        for module, name in _TAKING:
            patch(module, name, self.wrapped(name, getattr(module, name), takes=True))
        for module, name in _OTHERS:
            patch(module, name, self.wrapped(name, getattr(module, name)))
        patch(subprocess, "Popen", self.wrapped("Popen", subprocess.Popen, takes=True))

    def install_in_loop(
        self, patch: Callable[[Any, str, object], None], loop: asyncio.AbstractEventLoop, watcher: Any
    ) -> None:
        """Wraps what registers descriptors with an epoll."""
        patch(loop, "add_reader", self.wrapped("add_reader", loop.add_reader))
        patch(watcher, "_epoll", _Epoll(watcher._epoll, self))

    def arm(
        self, at: int, number: int, *, lasting: bool = False, on_failure: Callable[[], object] = lambda: None
    ) -> None:
        """Has the call with an index from 0 fail with an errno; none with an index below 0.

        `on_failure` is called when the first one fails.
        """
        self.calls, self.failed = 0, []
        self._on_failure = on_failure
        self._at, self._errno, self._lasting = at, number, lasting

    def heal(self) -> None:
        """Lets all calls succeed from now on."""
        self._at = None

    def wrapped(self, name: str, function: Callable[..., Any], *, takes: bool = False) -> Callable[..., Any]:
        """Returns a function that calls another one unless it is to fail."""

        def call(*args: Any, **kwargs: Any) -> Any:
            if self._at is None:
                return function(*args, **kwargs)
            self._count(name, takes=takes)
            # Calls that the standard library makes inside are not counted.
            at, self._at = self._at, None
            try:
                return function(*args, **kwargs)
            finally:
                self._at = at

        return call

    def _count(self, name: str, *, takes: bool) -> None:
        assert self._at is not None
        if name in _NEVER.get(self._errno, ()):
            return
        index, self.calls = self.calls, self.calls + 1
        later = self._lasting and takes and 0 <= self._at < index
        if index == self._at or later:
            if not self.failed:
                self._on_failure()
            self.failed.append(name)
            raise OSError(self._errno, os.strerror(self._errno), name)


class _Epoll:
    """An epoll whose `register` can fail; its type does not let itself be patched."""

    def __init__(self, epoll: select.epoll, faults: Faults) -> None:
        self._epoll = epoll
        self.register = faults.wrapped("register", epoll.register)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._epoll, name)
