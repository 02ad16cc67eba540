"""One process that is forked ahead, so that a job need not wait for a fork."""

import os

from jobworkerd.model import JobSpec
from jobworkerd.supervisor import process
from jobworkerd.supervisor.process import Child


class SpareProcess:
    """Keeps at most one child without an order; its owner until `start` hands it out, or `close`."""

    def __init__(self, open_files: tuple[int, int]) -> None:
        """`open_files` are the soft and hard RLIMIT_NOFILE of the jobs."""
        self._open_files = open_files
        self._child: Child | None = None

    def start(self, spec: JobSpec, join_fd: int | None) -> Child:
        """Returns a child that was ordered to run the job's command: the spare one, or else a new one.

        Raises:
            OSError: the host lacks something. Nothing is left behind.
        """
        child, self._child = self._child, None
        if child and _has_ended(child):  # whoever killed it: it is the job's own life that counts
            process.discard(child)
            child = None
        child = child or process.fork(self._open_files)
        try:
            process.order(child, spec, join_fd)
        except BaseException:
            process.discard(child)
            raise
        return child

    def refill(self) -> None:
        """Forks the child that the next job takes, if there is none.

        Where the host lacks something it is not missed: the next job forks for itself, or fails itself.
        """
        if self._child is None:
            try:
                self._child = process.fork(self._open_files)
            except OSError:
                return

    def close(self) -> None:
        """Ends the child that nobody took."""
        child, self._child = self._child, None
        if child:
            process.discard(child)


def _has_ended(child: Child) -> bool:
    flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
    return os.waitid(os.P_PIDFD, child.pidfd, flags) is not None
