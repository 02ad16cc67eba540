"""The private directories of jobs on disk: one tree per job, with a project quota.

A tree is `<directory>/<job id>`. Its project is stored in its inode, so a tree describes itself: whatever
kills the supervisor, the next one needs only the names of the trees.
"""

import asyncio
import fcntl
import os
import threading
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

from jobworkerd.exhaustion import is_exhaustion
from jobworkerd.job_id import is_job_id
from jobworkerd.scratch import project_quota
from jobworkerd.scratch.tree_removal import Interrupted, TreeRemoval
from jobworkerd.spawn import mounting
from jobworkerd.startup import CannotStart, InUse

BYTES_PER_FILE = 16_384
"""mkfs.ext4 makes one inode for so many bytes, so jobs that fit into the space also fit into the inodes."""

_MODE = 0o700
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

_RETRY_SECONDS = 1.0
"""Delay before a removal is repeated on an exhausted host."""

_LAST_REMOVALS_SECONDS = 5.0
"""Time for the last removals at the end of the server."""


class ScratchDisk:
    """The owner of the trees.

    Jobs can keep the disk busy, so one thread creates trees. Another one removes them, because a tree can
    have any size.
    """

    def __init__(self, directory: str, on_error: Callable[[BaseException], None]) -> None:
        """Lock the directory. `on_error` is called in the event loop if a tree cannot be removed.

        Raises:
            InUse: another server uses the directory.
            CannotStart: the directory cannot be used, or the host is exhausted.
        """
        self._loop = asyncio.get_running_loop()
        self._on_error = on_error
        self._closing = threading.Event()
        self._projects: set[int] = set()
        """The projects of removed trees that can have an open file. Only the removing thread uses it."""
        self._directory = _open_locked(directory)
        try:
            self._creator, self._remover = _started_thread(), _started_thread()
        except RuntimeError as error:
            os.close(self._directory)
            raise CannotStart(f"scratch.directory: {error}; raise the limit of tasks") from error

    async def create(self, job_id: str, size: int) -> int:
        """Create the tree of a job, bounded to `size` bytes; return a copy of its mount, which is nowhere.

        The caller closes the descriptor. After an error, too, `discard` removes what exists.

        Raises:
            OSError: the host is exhausted, or the disk failed.
        """
        creation = self._loop.run_in_executor(self._creator, self._create, job_id, size)
        try:
            return await asyncio.shield(creation)
        except asyncio.CancelledError:
            with suppress(OSError):
                os.close(await creation)
            raise

    def _create(self, job_id: str, size: int) -> int:
        os.mkdir(job_id, _MODE, dir_fd=self._directory)
        with self._opened(job_id) as tree:
            project_quota.assign_project(tree)
            project_quota.set_bounds(tree, size, max(size // BYTES_PER_FILE, 1))
            mount = mounting.open_tree(b".", directory=tree)
        try:
            mounting.make_private(mount)
        except OSError:
            os.close(mount)
            raise
        return mount

    def used_bytes(self, job_id: str) -> int:
        """Return the space that a job uses.

        Raises:
            OSError: the job has no tree, or the disk failed.
        """
        with self._opened(job_id) as tree:
            return project_quota.used_bytes(tree)

    def discard(self, job_id: str) -> None:
        """Remove the tree of a job, if it exists, in the background. No process of the job is left."""
        if not self._closing.is_set():
            self._remover.submit(self._remove, job_id)

    def sweep(self, live: Collection[str]) -> None:
        """Remove the trees of all jobs but the live ones, in the background. No job starts meanwhile."""
        try:
            with os.scandir(self._directory) as entries:
                for entry in entries:
                    if is_job_id(entry.name) and entry.name not in live:
                        self.discard(entry.name)
        except OSError as error:
            self._on_error(error)
        self._remover.submit(self._release_unused_projects)

    def close(self) -> None:
        """Finish the removals, but interrupt one that takes long: the next start continues it."""
        with suppress(TimeoutError):
            self._remover.submit(_do_nothing).result(_LAST_REMOVALS_SECONDS)
        self._closing.set()
        for thread in (self._creator, self._remover):
            thread.shutdown(cancel_futures=True)
        os.close(self._directory)

    @contextmanager
    def _opened(self, job_id: str) -> Iterator[int]:
        tree = os.open(job_id, _DIRECTORY, dir_fd=self._directory)
        try:
            yield tree
        finally:
            os.close(tree)

    def _remove(self, job_id: str) -> None:
        """Remove a tree, or try again after the others if the host is exhausted."""
        try:
            with self._opened(job_id) as tree:
                TreeRemoval(tree, self._closing.is_set).run()
                self._projects.add(project_quota.project_of(tree))
            os.rmdir(job_id, dir_fd=self._directory)
            self._release_projects()
        except (FileNotFoundError, Interrupted):
            return
        except Exception as error:  # noqa: BLE001 - nothing else reads the result of the thread
            if is_exhaustion(error):
                self._closing.wait(_RETRY_SECONDS)
                self.discard(job_id)
            else:
                self._report(error)

    def _release_projects(self) -> None:
        for project in sorted(self._projects):
            if project_quota.release(self._directory, project):
                self._projects.remove(project)

    def _release_unused_projects(self) -> None:
        """Release the projects of an earlier server that have no file now."""
        try:
            for project in [*project_quota.projects(self._directory)]:
                project_quota.release(self._directory, project)
        except OSError as error:
            self._report(error)

    def _report(self, error: BaseException) -> None:
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._on_error, error)


def _started_thread() -> ThreadPoolExecutor:
    """Return an executor whose thread runs already, because the host can have no more threads later.

    Raises:
        RuntimeError: the host can have no more threads.
    """
    thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="scratch")
    thread.submit(_do_nothing)
    return thread


def _do_nothing() -> None:
    """Take a turn in a thread."""


def _open_locked(directory: str) -> int:
    try:
        opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise CannotStart(f"scratch.directory: {directory} cannot be used ({error.strerror})") from error
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(opened)
        raise InUse(f"scratch.directory: another server uses {directory}; choose another one") from error
    return opened
