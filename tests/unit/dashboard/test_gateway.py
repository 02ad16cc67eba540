"""Tests of the session of a gateway: it names the server as one."""

import json

import pytest
from google.rpc import error_details_pb2

from jobworker.v1 import cluster_service_pb2
from jobworker_dashboard.connect_error import ConnectError, ErrorDetail
from jobworker_dashboard.methods import LIST_NODES
from served_dashboard import Served

NODES = cluster_service_pb2.ListNodesResponse(nodes=[cluster_service_pb2.Node(name="node1")])


def refusal(code: str, reason: str = "") -> ConnectError:
    info = error_details_pb2.ErrorInfo(reason=reason).SerializeToString()
    return ConnectError(code, "no", (ErrorDetail("google.rpc.ErrorInfo", info),))


@pytest.mark.parametrize(
    ("answer", "gateway", "calls"),
    [
        (NODES.SerializeToString(), True, 1),
        (refusal("unavailable", "CLUSTER_UNAVAILABLE"), True, 1),
        (refusal("unimplemented"), False, 1),
        (refusal("unavailable"), False, 2),
    ],
)
async def test_the_session_names_a_gateway(
    served: Served, answer: bytes | ConnectError, *, gateway: bool, calls: int
) -> None:
    served.backend.answer = lambda _: answer
    for _ in range(2):
        _, body = await served.http("GET", "/session")
        assert json.loads(body)["gateway"] is gateway
    assert [path for path, _, _ in served.backend.calls] == [LIST_NODES] * calls
    assert list(served.backend.calls[0][1]) == [("session", b"secret")]


async def test_the_page_can_list_nodes(served: Served) -> None:
    served.backend.answer = lambda _: NODES.SerializeToString()
    head, body = await served.http("POST", LIST_NODES)
    assert head.startswith("http/1.1 200")
    assert cluster_service_pb2.ListNodesResponse.FromString(body) == NODES
