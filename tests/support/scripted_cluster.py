"""A scripted ClusterService, which makes the scripted server a gateway."""

from collections.abc import Awaitable

import grpc
from grpc_status import rpc_status

from jobworker.v1 import cluster_service_pb2, cluster_service_pb2_grpc
from scripted_messages import Refusal

NodesRequest = cluster_service_pb2.ListNodesRequest
NodesResponse = cluster_service_pb2.ListNodesResponse


class FakeCluster(cluster_service_pb2_grpc.ClusterServiceServicer):
    """A cluster whose nodes a test sets, and which records the requests."""

    def __init__(self) -> None:
        self.nodes: list[cluster_service_pb2.Node] = []
        self.listed: list[NodesRequest] = []
        self.refusals: list[Refusal] = []

    def add(self, name: str, *, ready: bool = True, schedulable: bool = True) -> cluster_service_pb2.Node:
        """Add a node of 4 cores with one job, and return it."""
        node = cluster_service_pb2.Node(
            name=name,
            address=f"{name}.example:50051",
            ready=ready,
            schedulable=schedulable,
            capacity=cluster_service_pb2.NodeResources(cpu=400, memory=8_192, jobs=100),
            allocated=cluster_service_pb2.NodeResources(cpu=50, memory=512, jobs=1),
            conditions=[cluster_service_pb2.NodeCondition(type="Ready", status=str(ready))],
            labels={"zone": "a"},
            version="0.1.0",
        )
        self.nodes.append(node)
        return node

    async def ListNodes(  # noqa: N802 - the name of the RPC
        self,
        request: NodesRequest,
        context: "grpc.aio.ServicerContext[NodesRequest, Awaitable[NodesResponse]]",
    ) -> NodesResponse:
        """Return a page of `nodes`; the page token is the number of preceding nodes."""
        size = request.page_size or 500
        self.listed.append(request)
        if self.refusals:
            await context.abort_with_status(rpc_status.to_status(self.refusals.pop(0).status))
        first = int(request.page_token or 0)
        end = first + size
        token = str(end) if len(self.nodes) > end else ""
        return NodesResponse(nodes=self.nodes[first:end], next_page_token=token)
