"""Detects changes of the host that make spare processes outdated.

Spare processes have copies of the host's mounts, of its account files and of its writable directories.
"""

import asyncio
import contextlib
import os
import select
import struct
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from jobworkerd.libc import checked, libc

# include/uapi/linux/inotify.h
_MODIFIED, _ATTRIBUTES, _MOVED_SELF, _DELETED_SELF = 0x2, 0x4, 0x800, 0x400
_FILE = _MODIFIED | _ATTRIBUTES | _MOVED_SELF | _DELETED_SELF
_MOVED_FROM, _MOVED_TO, _CREATED, _DELETED = 0x40, 0x80, 0x100, 0x200
_ENTRIES = _MOVED_FROM | _MOVED_TO | _CREATED | _DELETED

_EVENT = struct.Struct("iIII")
"""`struct inotify_event` without the name that follows."""

_EVENT_BYTES = 65_536


class HostWatch:
    """The owner of the descriptors that report changes, until `close`."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        files: Iterable[Path],
        directories: Iterable[Path],
        on_change: Callable[[], None],
    ) -> None:
        """Start watching.

        `on_change` is called when a file system is mounted or unmounted, when one of the files changes, and
        when one of the directories is created, removed or replaced.
        """
        self._loop = loop
        self._files = tuple(files)
        self._directories = tuple(directories)
        self._on_change = on_change
        self._names: dict[int, set[bytes]] = {}
        self._mounts = os.open("/proc/self/mountinfo", os.O_RDONLY | os.O_CLOEXEC)
        # The kernel reports a change of the mounts as POLLPRI (see `cgroup.populated`).
        self._epoll = select.epoll()
        self._epoll.register(self._mounts, select.EPOLLPRI)
        self._inotify = checked(libc().inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        self._watch()
        loop.add_reader(self._epoll.fileno(), on_change)
        loop.add_reader(self._inotify, self._on_events)

    def close(self) -> None:
        """Stop watching."""
        self._loop.remove_reader(self._epoll.fileno())
        self._loop.remove_reader(self._inotify)
        self._epoll.close()
        os.close(self._mounts)
        os.close(self._inotify)

    def _watch(self) -> None:
        """Add watches for the paths that exist now. Existing watches do not change."""
        for file in self._files:
            self._add(file, _FILE)
        for directory in self._directories:
            for entry in (directory, *directory.parents[:-1]):
                if number := self._add(entry.parent, _ENTRIES):
                    self._names.setdefault(number, set()).add(os.fsencode(entry.name))

    def _add(self, path: Path, mask: int) -> int:
        """Return the number of the watch, or 0 if the path does not exist."""
        with contextlib.suppress(OSError):
            return checked(libc().inotify_add_watch(self._inotify, bytes(path), mask))
        return 0

    def _on_events(self) -> None:
        events = list(_events(os.read(self._inotify, _EVENT_BYTES)))
        if any(name in self._names.get(number, {name}) for number, name in events):
            # The events can come from a replaced file or directory. The new one has no watch yet.
            self._watch()
            self._on_change()


def _events(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the number of the watch and the name of the directory entry; the name is empty for a file."""
    offset = 0
    while offset < len(data):
        number, _, _, length = _EVENT.unpack_from(data, offset)
        offset += _EVENT.size + length
        yield number, data[offset - length : offset].rstrip(b"\0")
