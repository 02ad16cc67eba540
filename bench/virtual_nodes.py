"""Many nodes of a cluster in one process: the agent of each, with a host that runs no processes.

    python virtual_nodes.py DIRECTORY FIRST COUNT JOB_SECONDS

DIRECTORY has the file node-N.kubeconfig of each node. Every job takes JOB_SECONDS.
"""

import asyncio
import sys
from pathlib import Path

from virtual_host import VirtualHost

from jobworker_agent import agent, log_setup
from jobworker_agent.kube_cluster import connect
from jobworker_agent.settings import node_identity


async def _node(number: int, directory: Path, job_seconds: float) -> None:
    address = f"10.0.{number // 250}.{number % 250 + 1}:50051"
    identity = node_identity(f"node-{number}", address, [], {"max_cpu": 0, "max_memory": 0, "max_jobs": 0})
    async with connect(
        directory / f"node-{number}.kubeconfig", identity, "jobworker", identity.name
    ) as cluster:
        await agent.run(identity, VirtualHost(job_seconds), cluster)


async def _main(directory: Path, first: int, count: int, job_seconds: float) -> None:
    async with asyncio.TaskGroup() as nodes:
        for number in range(first, first + count):
            nodes.create_task(_node(number, directory, job_seconds))
            # Hosts of a data center do not register at the same moment either.
            await asyncio.sleep(0.02)


if __name__ == "__main__":
    listener = log_setup.configure("error", "json")
    try:
        asyncio.run(_main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])))
    finally:
        listener.stop()
