"""The policy has a rule for each method, and the server enforces it over mTLS."""

import grpc
import pytest
from api_server import FINAL_JOB, JOB_ID, Api, eventually, refusal
from google.protobuf.descriptor import FileDescriptor
from grpc import aio
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from jobworker.v1 import cluster_service_pb2, job_service_pb2, login_service_pb2, node_service_pb2
from jobworkerd.protocol import messages
from jobworkerd.protocol.login_messages import (
    CreateLogin,
    GetSessionKey,
    Login,
    LoginToken,
    RedeemLogin,
    SessionKey,
)
from jobworkerd.protocol.node_messages import GetHost, Host, ListRuns, Runs
from jobworkerd.rpc_server.identity.policy import POLICY, roles_for
from jobworkerd.rpc_server.identity.principal import Role

FILES: list[FileDescriptor] = [
    job_service_pb2.DESCRIPTOR,
    login_service_pb2.DESCRIPTOR,
    cluster_service_pb2.DESCRIPTOR,
    node_service_pb2.DESCRIPTOR,
    health_pb2.DESCRIPTOR,
    reflection_pb2.DESCRIPTOR,
]
OF_GATEWAYS = {"jobworker.v1.ClusterService/ListNodes"}
"""Methods that a host does not serve. The tests of the gateway call them."""

METHODS = {
    f"{service.full_name}/{method.name}"
    for file in FILES
    for service in file.services_by_name.values()
    for method in service.methods
}


def test_all_served_methods_and_no_others_have_rules() -> None:
    v1 = "grpc.reflection.v1.ServerReflection/ServerReflectionInfo"  # an alias without a descriptor
    assert METHODS | {v1} == set(POLICY)


def test_no_role_can_call_a_method_without_a_rule() -> None:
    assert roles_for("jobworker.v1.JobService/PurgeJobs") == ()


def test_only_methods_that_change_state_need_an_admin() -> None:
    admins_alone = {method for method, roles in POLICY.items() if roles == (Role.ADMIN,)}
    service = "jobworker.v1.JobService"
    changing = ("CreateJob", "StopJob", "UpdateJob", "DeleteJob", "AttachJob")
    assert admins_alone == {f"{service}/{name}" for name in changing}


def test_a_delegate_alone_can_only_redeem_logins_and_check_the_health() -> None:
    delegates = {method for method, roles in POLICY.items() if Role.DELEGATE in roles}
    health = {f"grpc.health.v1.Health/{name}" for name in ("Check", "List", "Watch")}
    assert delegates == {"jobworker.v1.LoginService/RedeemLogin", *health}


def test_a_gateway_can_run_jobs_of_the_cluster_and_check_the_health() -> None:
    gateways = {method for method, roles in POLICY.items() if Role.GATEWAY in roles}
    health = {f"grpc.health.v1.Health/{name}" for name in ("Check", "List", "Watch")}
    service = "jobworker.v1.NodeService"
    names = ("GetHost", "RunJob", "ListRuns", "EvictJob", "RenewLease")
    assert gateways == {*(f"{service}/{name}" for name in names), *health}


BY_ID = {"GetJob", "StopJob", "UpdateJob", "DeleteJob", "GetJobsStream"}


async def _call(api: Api, unit: str | None, method: str) -> grpc.StatusCode:
    by_id = method.rpartition("/")[2] in BY_ID
    request = job_service_pb2.GetJobRequest(id=JOB_ID).SerializeToString() if by_id else b""
    return await api.status(unit, method, request)


@pytest.mark.parametrize("method", sorted(set(POLICY) - OF_GATEWAYS))
@pytest.mark.parametrize("unit", ["Admin", "Viewer", "Delegate", "Gateway", "Intern", None])
async def test_every_cell_of_the_table(api: Api, method: str, unit: str | None) -> None:
    replies: dict[type, messages.ReplyBody] = {
        messages.ListJobs: messages.JobPage(()),
        messages.DeleteJob: messages.Done(),
        CreateLogin: LoginToken("token", 60),
        RedeemLogin: Login(),
        GetSessionKey: SessionKey(b"key"),
        GetHost: Host(""),
        ListRuns: Runs(()),
    }
    api.supervisor.script = lambda body: replies.get(type(body), messages.OneJob(FINAL_JOB))
    code = await _call(api, unit, method)
    allowed = unit in {role.value for role in POLICY[method]}
    assert (code != grpc.StatusCode.PERMISSION_DENIED) == allowed
    assert code != grpc.StatusCode.UNIMPLEMENTED
    (decision,) = api.events("authorization")
    assert (decision["method"], decision["decision"]) == (method, "allowed" if allowed else "denied")
    assert decision["role"] == (unit if unit in {role.value for role in Role} else "")
    assert str(decision["subject"]).startswith("CN=alice")
    assert decision["reason"]


@pytest.mark.parametrize(("unit", "code"), [("Viewer", "PERMISSION_DENIED"), ("Admin", "OK")])
@pytest.mark.parametrize("method", ["StopJob", "UpdateJob"])
async def test_a_decision_about_a_job_is_logged_with_its_id(
    api: Api, method: str, unit: str, code: str
) -> None:
    await _call(api, unit, f"jobworker.v1.JobService/{method}")
    await eventually(lambda: api.events("rpc"))
    (rpc,) = api.events("rpc")
    assert (rpc["status"], rpc["job_id"]) == (code, JOB_ID)
    if code != "OK":
        (decision,) = api.events("authorization")
        assert decision["job_id"] == JOB_ID


async def test_the_id_in_the_log_is_bounded(api: Api) -> None:
    async with api.client("Viewer") as client:
        call = client.stub.StopJob(job_service_pb2.StopJobRequest(id="x" * 100_000))
        assert await call.code() is grpc.StatusCode.PERMISSION_DENIED
    (decision,) = api.events("authorization")
    assert decision["job_id"] == "x" * 64


@pytest.mark.parametrize("unit", ["Viewer", None])
async def test_a_denied_call_names_the_required_role_and_does_not_reach_the_supervisor(
    api: Api, unit: str | None
) -> None:
    async with api.client(unit) as client:
        with pytest.raises(aio.AioRpcError) as caught:
            await client.stub.CreateJob(job_service_pb2.CreateJobRequest(command="true"))
    refused = refusal(caught.value)
    assert (refused.code, refused.reason) == (grpc.StatusCode.PERMISSION_DENIED, "ROLE_REQUIRED")
    assert refused.metadata == {
        "method": "jobworker.v1.JobService/CreateJob",
        "required": "Admin",
        "role": unit or "",
    }
    assert not api.supervisor.requests
