"""The attempts on this node, one for each of its Pods."""

import asyncio
from collections import Counter
from collections.abc import Callable

import structlog

from jobworker_agent.cluster import PodEvent, PodGone, PodSeen, PodsListed
from jobworker_agent.pod_run import PodRun
from jobworker_agent.steps import PodState
from jobworker_cluster.pods import JobPod


class PodRuns:
    """Starts an attempt for each Pod, and passes changes to it.

    An attempt whose Pod is gone ends after its step. It stops no job: what the host then still runs is an
    orphan, and `on_removed` is called for it.
    """

    def __init__(
        self, new_run: Callable[[JobPod], PodRun], tasks: asyncio.TaskGroup, on_removed: Callable[[], None]
    ) -> None:
        self._new_run = new_run
        self._tasks = tasks
        self._on_removed = on_removed
        self._runs: dict[str, PodRun] = {}
        self._listed = False
        self._log: structlog.typing.FilteringBoundLogger = structlog.get_logger()

    @property
    def uids(self) -> frozenset[str] | None:
        """The uids of the Pods on this node; None if the cluster has not told them yet."""
        return frozenset(self._runs) if self._listed else None

    def states(self) -> "Counter[PodState]":
        """Return the number of Pods by the state of their jobs."""
        return Counter(run.state for run in self._runs.values())

    def apply(self, event: PodEvent) -> None:
        """Follow a change in the cluster."""
        match event:
            case PodsListed(pods):
                for uid in self._runs.keys() - {pod.uid for pod in pods}:
                    self._remove(uid)
                for pod in pods:
                    self._put(pod)
                self._listed = True
                self._on_removed()
            case PodSeen(pod):
                self._put(pod)
            case PodGone(uid):
                self._remove(uid)

    def _put(self, pod: JobPod) -> None:
        if known := self._runs.get(pod.uid):
            known.update(pod)
            return
        self._log.info("pod bound", job=pod.job_id, attempt=pod.attempt, pod_uid=pod.uid)
        run = self._new_run(pod)
        self._runs[pod.uid] = run
        self._tasks.create_task(self._follow(run), name=f"pod {pod.uid}")

    def _remove(self, uid: str) -> None:
        if run := self._runs.pop(uid, None):
            run.remove()
            self._on_removed()

    async def _follow(self, run: PodRun) -> None:
        await run.run()
        # A start that was in progress when the Pod disappeared has become an orphan only now.
        self._on_removed()
