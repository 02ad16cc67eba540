"""Errors of calls to nodes, and what the client gets of them."""

import grpc
import structlog
from google.rpc import status_pb2
from grpc import aio
from grpc_status import rpc_status

from jobworkerd.errors import NodeUnreachable
from jobworkerd.rpc_server.interceptors.server_interceptor import Run, ServerInterceptor
from jobworkerd.rpc_server.rpc import Call

_REFUSED = frozenset({grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED})

_BROKEN = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.CANCELLED,  # the gRPC server of the node has stopped
        grpc.StatusCode.INTERNAL,  # a reset of the stream
        grpc.StatusCode.UNKNOWN,
    }
)
"""The codes that a call has without details if its connection broke."""

_BUG = "internal error; "
"""The begin of the message of a bug, which has no details either."""


class NodeError(Exception):
    """Raised when a node ends a call with an error. The client gets its status, reason and details."""

    def __init__(self, status: grpc.Status) -> None:
        super().__init__(status.details)
        self.status = status

    @property
    def temporary(self) -> bool:
        """Whether the node will accept the same call soon."""
        return self.status.code is grpc.StatusCode.UNAVAILABLE


class NodeErrors(ServerInterceptor):
    """Ends a call with the status of the node."""

    async def intercept(self, call: Call, run: Run) -> object:
        try:
            return await run(call)
        except NodeError as error:
            await call.context.abort_with_status(error.status)


def from_rpc(error: aio.AioRpcError, node: str) -> NodeError | NodeUnreachable:
    """Return the error for a failed call to a node.

    A client with a valid certificate must not get UNAUTHENTICATED because the node refuses the gateway.
    """
    code, why = error.code(), error.details() or "no details"
    if code in _REFUSED:
        structlog.get_logger().error("node refuses the gateway", node=node, reason=why)
        return NodeUnreachable(node, f"it refuses the certificate of the gateway: {why}")
    if details := _details(error):
        return NodeError(rpc_status.to_status(details))
    if code in _BROKEN and not why.startswith(_BUG):
        return NodeUnreachable(node, why)
    return NodeError(_Status(code, why))


def forgotten(error: NodeError | NodeUnreachable, node: str) -> NodeError | NodeUnreachable:
    """Return the error for a call about a job that the cluster has: never NOT_FOUND.

    The agent reports the loss soon. Then a retry gets the final record.
    """
    if isinstance(error, NodeError) and error.status.code is grpc.StatusCode.NOT_FOUND:
        return NodeUnreachable(node, "it has no record of the job")
    return error


class _Status(grpc.Status):
    """A status without details."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        self.code = code
        self.details = details
        self.trailing_metadata = ()


def _details(error: aio.AioRpcError) -> status_pb2.Status | None:
    try:
        found: status_pb2.Status | None = rpc_status.from_call(error)
    except ValueError:  # a proxy has rewritten the status or the details
        return None
    return found
