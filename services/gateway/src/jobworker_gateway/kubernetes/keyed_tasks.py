"""One task per job that needs attention."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from jobworker_cluster.kube_errors import Conflict, KubeError, Unreachable
from jobworker_cluster.reflector import Backoff
from jobworker_gateway.kubernetes.cluster_errors import REFUSED
from jobworkerd.errors import ClusterRefused, ClusterUnavailable

_AT_ONCE = 32
"""Jobs in work at one time. It bounds the load of the apiserver after an outage."""


class KeyedTasks:
    """Calls `work` for each scheduled job until it succeeds, never twice at once for the same job."""

    def __init__(self, work: Callable[[str], Awaitable[None]], *, at_once: int = _AT_ONCE) -> None:
        self._work = work
        self._log: structlog.typing.FilteringBoundLogger = structlog.get_logger()
        self._slots = asyncio.Semaphore(at_once)
        self._closed = False
        self._pending: set[str] = set()
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def schedule(self, job_id: str) -> None:
        """Call `work` for a job soon: also if it is at work now, because it may have missed a change."""
        if self._closed:
            return
        self._pending.add(job_id)
        if job_id not in self._tasks:
            self._tasks[job_id] = asyncio.create_task(self._run(job_id), name=f"reconcile {job_id}")

    async def close(self) -> None:
        """Cancel all tasks and wait for their end. Timers can still schedule jobs, without an effect."""
        self._closed = True
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, job_id: str) -> None:
        backoff = Backoff()
        try:
            while job_id in self._pending:
                self._pending.discard(job_id)
                if not await self._succeeds(job_id):
                    self._pending.add(job_id)
                    await asyncio.sleep(backoff.next())
        finally:
            del self._tasks[job_id]

    async def _succeeds(self, job_id: str) -> bool:
        async with self._slots:
            try:
                await self._work(job_id)
            except (Conflict, Unreachable, ClusterUnavailable) as error:
                # Another gateway was faster, or the cluster does not answer, which the watches report.
                self._log.debug("job step repeated", job_id=job_id, reason=str(error))
            except (KubeError, ClusterRefused) as error:
                self._log.warning(REFUSED, job_id=job_id, reason=str(error))
            except Exception:  # noqa: BLE001 - a job must not keep others from their end
                self._log.exception("job step failed", job_id=job_id)
            else:
                return True
        return False
