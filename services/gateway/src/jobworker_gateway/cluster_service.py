"""The method of ClusterService."""

# ruff: noqa: N802 - the method has the name that the API gives it

import base64
import binascii

from jobworker.v1 import cluster_service_pb2, cluster_service_pb2_grpc
from jobworker_gateway.engine import Engine, check_complete
from jobworkerd.errors import InvalidRequest
from jobworkerd.limit_bounds import Bound
from jobworkerd.rpc_server.rpc import Context

PAGE_SIZE = Bound(1, 500, "nodes", zero="500 nodes")


class ClusterService(cluster_service_pb2_grpc.ClusterServiceServicer):
    """Serves `jobworker.v1.ClusterService`. It raises the errors of jobworkerd.errors."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def ListNodes(
        self,
        request: cluster_service_pb2.ListNodesRequest,
        context: Context,  # noqa: ARG002 - gRPC's signature
    ) -> cluster_service_pb2.ListNodesResponse:
        """Return a page of the nodes, by name."""
        if problem := PAGE_SIZE.negative_problem(request.page_size):
            raise InvalidRequest({"page_size": problem})
        after = _name(request.page_token)
        size = min(request.page_size or PAGE_SIZE.maximum, PAGE_SIZE.maximum)
        check_complete(self._engine)
        names = sorted(name for name in self._engine.nodes if name > after)
        page = [self._engine.nodes[name] for name in names[:size]]
        token = _token(names[size - 1]) if len(names) > size else ""
        return cluster_service_pb2.ListNodesResponse(nodes=page, next_page_token=token)


def _token(name: str) -> str:
    return base64.urlsafe_b64encode(name.encode()).decode()


def _name(token: str) -> str:
    """Return the name in a page token; empty without a token.

    Raises:
        InvalidRequest: the text is not a token.
    """
    try:
        return base64.b64decode(token.encode("ascii"), altchars=b"-_", validate=True).decode()
    except (UnicodeError, binascii.Error):
        why = "not a token of this list; use the next_page_token of the previous page"
        raise InvalidRequest({"page_token": why}) from None
