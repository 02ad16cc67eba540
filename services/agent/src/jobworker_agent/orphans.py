"""Stops jobs of the cluster that have no Pod on this node any more.

The cluster has given them up: it declared them LOST, or started another attempt on another node.
"""

import asyncio
from collections.abc import Callable, Collection
from contextlib import suppress

import structlog

from jobworker.v1 import node_service_pb2
from jobworker_agent.host import Host
from jobworker_agent.host_errors import HostError, JobUnknown
from jobworker_agent.records_of_end import ORPHANED
from jobworker_cluster.reflector import Backoff

_FIRST_DELAY_SECONDS = 0.25

_PERIOD_SECONDS = 60.0
"""Longest time between two comparisons. A call that failed can start a job after the last check."""


class Orphans:
    """Compares the jobs on the host with the Pods of the node after each `check`, and once per minute."""

    def __init__(self, host: Host, uids: Callable[[], Collection[str] | None]) -> None:
        """`uids` returns the uids of the Pods of the node; None if they are not known yet.

        `stopped` counts the jobs that were stopped.
        """
        self._host = host
        self._uids = uids
        self._due = asyncio.Event()
        self._ending: set[str] = set()
        self._backoff = Backoff(first=_FIRST_DELAY_SECONDS)
        self.stopped = 0
        self._log: structlog.typing.FilteringBoundLogger = structlog.get_logger()

    def check(self) -> None:
        """Let `run` compare soon."""
        self._due.set()

    async def run(self) -> None:
        """Stop orphans until cancelled."""
        backoff = Backoff(first=_FIRST_DELAY_SECONDS)
        async with asyncio.TaskGroup() as tasks:
            while True:
                with suppress(TimeoutError):
                    async with asyncio.timeout(_PERIOD_SECONDS):
                        await self._due.wait()
                self._due.clear()
                try:
                    found = await self.find()
                except HostError as error:
                    self._log.info("orphans not listed", reason=error.reason, error=str(error))
                    self._due.set()
                    await asyncio.sleep(backoff.next())
                    continue
                backoff.reset()
                for run in found:
                    self._ending.add(run.request_id)
                    tasks.create_task(self._end(run), name=f"orphan {run.id}")

    async def find(self) -> list[node_service_pb2.Run]:
        """Return the jobs without a Pod that are not being stopped.

        Raises:
            HostError: the host cannot list its jobs.
        """
        runs = await self._host.runs()
        # Read after the answer: a job is in it only if its Pod was known before.
        known = self._uids()
        if known is None:
            return []
        return [run for run in runs if run.request_id not in known and run.request_id not in self._ending]

    async def _end(self, run: node_service_pb2.Run) -> None:
        try:
            await self._host.evict(run.id, ORPHANED)
        except JobUnknown:
            return
        except HostError as error:
            self._log.info("orphan not stopped", job=run.id, reason=error.reason, error=str(error))
            await asyncio.sleep(self._backoff.next())
            # The next attempt can have the id of the job by now, so this is not simply repeated.
            self.check()
        else:
            self._backoff.reset()
            self.stopped += 1
            self._log.warning("orphan stopped", job=run.id, pod_uid=run.request_id)
        finally:
            self._ending.discard(run.request_id)
