"""Notices when the host is no longer as processes that were prepared have copied it: its mounts, and the
files that name its users.
"""

import asyncio
import contextlib
import os
import select
from collections.abc import Callable, Iterable

from jobworkerd.libc import checked, libc

# include/uapi/linux/inotify.h
_MODIFIED, _ATTRIBUTES, _MOVED, _DELETED = 0x2, 0x4, 0x800, 0x400
_CHANGED = _MODIFIED | _ATTRIBUTES | _MOVED | _DELETED

_EVENT_BYTES = 4096


class HostWatch:
    """The owner of the descriptors that notice changes, until `close`."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, files: Iterable[bytes], on_change: Callable[[], None]
    ) -> None:
        """Calls a function each time that a file system is mounted or unmounted, or a file has changed."""
        self._loop = loop
        self._files = tuple(files)
        self._on_change = on_change
        self._mounts = os.open("/proc/self/mountinfo", os.O_RDONLY | os.O_CLOEXEC)
        # The kernel marks a change of the mounts with POLLPRI, see `cgroup.populated`.
        self._epoll = select.epoll()
        self._epoll.register(self._mounts, select.EPOLLPRI)
        self._inotify = checked(libc().inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        self._watch_files()
        loop.add_reader(self._epoll.fileno(), on_change)
        loop.add_reader(self._inotify, self._on_file)

    def close(self) -> None:
        """Ends watching."""
        self._loop.remove_reader(self._epoll.fileno())
        self._loop.remove_reader(self._inotify)
        self._epoll.close()
        os.close(self._mounts)
        os.close(self._inotify)

    def _watch_files(self) -> None:
        for path in self._files:
            with contextlib.suppress(OSError):  # a host need not have the file
                checked(libc().inotify_add_watch(self._inotify, path, _CHANGED))

    def _on_file(self) -> None:
        os.read(self._inotify, _EVENT_BYTES)
        # Programs replace such a file, and the new one is not watched yet.
        self._watch_files()
        self._on_change()
