"""Authorization without a rule and without a certificate.

test_policy tests the policy over mTLS.
"""

import dataclasses
from unittest.mock import AsyncMock

import grpc
import pytest
from api_server import Logged, refusal
from grpc import aio

from jobworkerd.rpc_server.active_calls import ActiveCalls
from jobworkerd.rpc_server.identity.principal import Identities, Principal, Role
from jobworkerd.rpc_server.identity.session_token import SessionTokens
from jobworkerd.rpc_server.interceptors.authorization import Authorization
from jobworkerd.rpc_server.interceptors.errors import Errors
from jobworkerd.rpc_server.interceptors.server_interceptor import Run, ServerInterceptor
from jobworkerd.rpc_server.rpc import Call, Credential
from tests.unit.rpc_server.interceptors.conftest import METHODS, Serve, nothing


class _AdminAlways(Identities):
    """Treats every client as an admin."""

    def check(self, presented: Credential) -> Principal:  # noqa: ARG002 - as in the base class
        """Return an admin."""
        return Principal("CN=alice", Role.ADMIN)


class _Certificate(ServerInterceptor):
    """Gives every call a credential, although the connection has none."""

    async def intercept(self, call: Call, run: Run) -> object:
        return await run(dataclasses.replace(call, credential=Credential(b"", b"")))


def _authorization(identities: Identities) -> Authorization:
    return Authorization(identities, ActiveCalls(identities))


@pytest.mark.parametrize("method", METHODS)
async def test_a_method_without_a_rule_is_denied_to_an_admin(
    serve: Serve, logged: Logged, method: str
) -> None:
    async with serve(
        nothing, Errors(), _Certificate(), _authorization(_AdminAlways(SessionTokens(AsyncMock())))
    ) as client:
        with pytest.raises(aio.AioRpcError) as caught:
            await client.call(method)
    assert refusal(caught.value).reason == "ROLE_REQUIRED"
    assert [line["decision"] for line in logged] == ["denied"]


async def test_a_connection_without_a_certificate_is_unauthenticated(serve: Serve, logged: Logged) -> None:
    async with serve(nothing, Errors(), _authorization(Identities(SessionTokens(AsyncMock())))) as client:
        with pytest.raises(aio.AioRpcError) as caught:
            await client.call("Write")
    refused = refusal(caught.value)
    assert (refused.code, refused.reason) == (grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED")
    assert [line["decision"] for line in logged] == ["denied"]
