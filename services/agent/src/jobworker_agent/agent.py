"""The tasks of the agent."""

import asyncio
import signal
from collections import Counter
from collections.abc import Callable, Coroutine

import structlog

from jobworker_agent import systemd
from jobworker_agent.certificate_watch import CertificateWatch
from jobworker_agent.cluster import Cluster
from jobworker_agent.host import GrpcHost, Host
from jobworker_agent.kube_cluster import connect
from jobworker_agent.lease import NodeLease
from jobworker_agent.metrics import endpoint
from jobworker_agent.metrics.agent_metrics import AgentMetrics, NodeParts
from jobworker_agent.node import HostWatch, NodeKeeper, machine, read_system
from jobworker_agent.node_object import NodeIdentity
from jobworker_agent.orphans import Orphans
from jobworker_agent.pod_run import PodRun, StepCounts
from jobworker_agent.pod_runs import PodRuns
from jobworker_agent.pod_watch import PodWatch
from jobworker_agent.settings import Settings
from jobworker_agent.start import Starter


async def serve(settings: Settings) -> None:
    """Be the node until SIGTERM or SIGINT.

    The jobs continue. The Node stays as it is: a restart of the agent within the validity of the lease has no
    effect on the cluster. After that, the cluster finds out by itself that the node is gone.

    Raises:
        OSError: a certificate or the kubeconfig cannot be read, or the address of the metrics cannot be used.
        InvalidKubeconfig: the kubeconfig cannot be used.
        ExceptionGroup: an unexpected error, which the log has, too.
    """
    log: structlog.typing.FilteringBoundLogger = structlog.get_logger()
    host = GrpcHost(settings.server)
    try:
        async with connect(settings.kubeconfig, settings.identity, settings.namespace, machine()) as cluster:
            watch = CertificateWatch(host.connections, cluster)
            sock = endpoint.bind(*settings.metrics_listen) if settings.metrics_listen else None

            async def serve_metrics(parts: NodeParts) -> None:
                if sock:
                    metrics = AgentMetrics(parts, cluster.calls, watch.expiries)
                    await endpoint.MetricsEndpoint(metrics.render).serve(sock)

            log.info(
                "agent started",
                node=settings.identity.name,
                server=settings.server.target,
                metrics=endpoint.bound_address(sock) if sock else "",
            )
            systemd.notify("READY=1")
            try:
                await _until_signal(
                    _together(run(settings.identity, host, cluster, serve_metrics), watch.run())
                )
            except ExceptionGroup:
                log.exception("agent failed", node=settings.identity.name)
                raise
            systemd.notify("STOPPING=1")
            log.info("agent ended", node=settings.identity.name)
    finally:
        await host.close()


async def _serve_nothing(_parts: NodeParts) -> None:
    """Serve no metrics."""


async def run(
    identity: NodeIdentity,
    host: Host,
    cluster: Cluster,
    serve_metrics: Callable[[NodeParts], Coroutine[None, None, None]] = _serve_nothing,
) -> None:
    """Be the node until cancelled. `serve_metrics` runs beside it."""
    async with asyncio.TaskGroup() as tasks:
        orphans = Orphans(host, lambda: runs.uids)
        steps: StepCounts = Counter()
        runs = PodRuns(lambda pod: PodRun(pod, starter, steps=steps), tasks, orphans.check)
        watch = PodWatch(cluster, runs.apply)
        host_watch = HostWatch(host, requires_limits=identity.requires_limits)
        node = NodeKeeper(identity, read_system(), cluster, host_watch)
        lease = NodeLease(cluster, host, node.uid, watch.restart)
        starter = Starter(identity.name, host, cluster, lease)
        for name, work in (
            ("node", node.run()),
            ("lease", lease.run()),
            ("watch", watch.run()),
            ("orphans", orphans.run()),
            ("metrics", serve_metrics(NodeParts(lease, node, runs, orphans, steps))),
            ("watchdog", systemd.report_alive()),
        ):
            tasks.create_task(work, name=name)


async def _together(*works: Coroutine[None, None, None]) -> None:
    """Await all works; end with the first one that fails."""
    async with asyncio.TaskGroup() as tasks:
        for work in works:
            tasks.create_task(work)


async def _until_signal(work: Coroutine[None, None, None]) -> None:
    """Await the work, and cancel it at the first SIGTERM or SIGINT."""
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    stopped = False

    def stop() -> None:
        nonlocal stopped
        stopped = True
        task.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    try:
        await task
    except asyncio.CancelledError:
        if not stopped:
            raise
