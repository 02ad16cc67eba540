"""Check authentication and the permissions of each role."""

import ssl
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TypeVar

import grpc
import pytest
import trustme
from google.protobuf import descriptor_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from jobworker.v1 import job_service_pb2, job_service_pb2_grpc, job_watch_pb2
from jobworker.v1.job_attach_pb2 import AttachStart
from live import Server, make_certificates, until
from live_client import Client, client, refused, until_status_known

T = TypeVar("T")

JOB_ID = str(uuid.uuid4())
PERMISSIONS = {
    # method: (request, whether a viewer may call it)
    "CreateJob": (job_service_pb2.CreateJobRequest(command="true"), False),
    "GetJob": (job_service_pb2.GetJobRequest(id=JOB_ID), True),
    "ListJobs": (job_service_pb2.ListJobsRequest(), True),
    "StopJob": (job_service_pb2.StopJobRequest(id=JOB_ID), False),
    "UpdateJob": (job_service_pb2.UpdateJobRequest(id=JOB_ID, max_cpu=5), False),
    "DeleteJob": (job_service_pb2.DeleteJobRequest(id=JOB_ID), False),
    "WaitJob": (job_service_pb2.WaitJobRequest(id=JOB_ID), True),
    "WatchJobs": (job_watch_pb2.WatchJobsRequest(), True),
    "GetJobsStream": (job_service_pb2.GetJobsStreamRequest(id=JOB_ID), True),
    "AttachJob": (job_service_pb2.AttachJobRequest(start=AttachStart(id=JOB_ID)), False),
}
SERVICE = job_service_pb2.DESCRIPTOR.services_by_name["JobService"]


def test_permission_matrix_has_every_method() -> None:
    assert PERMISSIONS.keys() == {method.name for method in SERVICE.methods}


@pytest.mark.parametrize("method", PERMISSIONS)
@pytest.mark.parametrize("role", ["admin", "viewer"])
async def test_permission_matrix(admin: Client, viewer: Client, method: str, role: str) -> None:
    request, viewer_may = PERMISSIONS[method]
    client = admin if role == "admin" else viewer
    if role == "viewer" and not viewer_may:
        async with refused(grpc.StatusCode.PERMISSION_DENIED) as refusal:
            await until_status_known(lambda: _call(client.channel, method, request))
        assert refusal.reason == "ROLE_REQUIRED"
    elif method == "AttachJob" or request.DESCRIPTOR.fields_by_name.get("id"):
        async with refused(grpc.StatusCode.NOT_FOUND):
            await _call(client.channel, method, request)
    else:
        await _call(client.channel, method, request)


async def test_every_method_that_reflection_lists_has_a_rule(admin: Client, viewer: Client) -> None:
    """A method without a rule is denied to every role, including admin."""
    allowed = {"admin": 0, "viewer": 0}
    for service, methods in (await _served_methods(admin)).items():
        for method in methods:
            for role, caller in (("admin", admin), ("viewer", viewer)):
                code = await _code(caller.channel, f"/{service}/{method}")
                allowed[role] += code is not grpc.StatusCode.PERMISSION_DENIED
    served = await _served_methods(admin)
    # Only a delegate can call RedeemLogin, and only a gateway NodeService, which no gateway has itself.
    total = sum(map(len, served.values())) - 1 - len(served.get("jobworker.v1.NodeService", ()))
    assert allowed == {"admin": total, "viewer": total - 5}


async def test_health(viewer: Client) -> None:
    stub = health_pb2_grpc.HealthStub(viewer.channel)
    for service in ("", "jobworker.v1.JobService"):
        answer = await stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=30)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_health_command_prints_the_status(server: Server) -> None:
    done = server.probe("jobworker.v1.JobService")
    assert (done.returncode, done.stdout, done.stderr) == (0, "SERVING\n", "")


def test_health_command_fails_for_an_unknown_service(server: Server) -> None:
    done = server.probe("unknown")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(
        f"error: {server.address}: NOT_FOUND: unknown service 'unknown'; use one of"
    )


@pytest.fixture
def authority(certs: Path) -> trustme.CA:
    """The server's CA, used to issue certificates that `jobworkerd certs` does not issue."""
    return trustme.CA.from_pem((certs / "ca.pem").read_bytes(), (certs / "ca-key.pem").read_bytes())


@pytest.mark.parametrize(
    ("unit", "role"),
    [
        ("Admin", "admin"),
        ("aDMIN", "admin"),
        ("Viewer", "viewer"),
        ("Administrators", None),
        ("Admin,OU=Viewer", None),
        ("Operator", None),
        (None, None),
    ],
)
async def test_role_matches_the_whole_organizational_unit(
    server: Server, certs: Path, authority: trustme.CA, unit: str | None, role: str | None
) -> None:
    leaf = authority.issue_cert("someone@example.org", common_name="Admin", organization_unit_name=unit)
    async with _channel(server, certs, leaf) as channel:
        code = {method: await _code(channel, f"/jobworker.v1.JobService/{method}") for method in PERMISSIONS}
    denied = {method for method, each in code.items() if each is grpc.StatusCode.PERMISSION_DENIED}
    admin_only = {method for method, (_, viewer_may) in PERMISSIONS.items() if not viewer_may}
    assert denied == {"admin": set(), "viewer": admin_only, None: set(PERMISSIONS)}[role]


async def test_certificate_of_another_authority_is_refused(server: Server, certs: Path) -> None:
    leaf = trustme.CA().issue_cert("eve@example.org", organization_unit_name="Admin")
    async with _channel(server, certs, leaf) as channel:
        assert await _code(channel, "/jobworker.v1.JobService/ListJobs") is grpc.StatusCode.UNAVAILABLE


async def test_missing_client_certificate_is_refused(server: Server, certs: Path) -> None:
    trust = grpc.ssl_channel_credentials((certs / "ca.pem").read_bytes())
    async with grpc.aio.secure_channel(server.address, trust) as channel:
        assert await _code(channel, "/jobworker.v1.JobService/ListJobs") is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize(("version", "works"), [("-tls1_3", True), ("-tls1_2", False)])
def test_tls_version(server: Server, certs: Path, version: str, works: bool) -> None:  # noqa: FBT001 - a column
    argv: list[str | Path] = [
        "openssl",
        "s_client",
        "-connect",
        server.address,
        version,
        "-CAfile",
        certs / "ca.pem",
    ]
    argv += ["-cert", certs / "admin.pem", "-key", certs / "admin-key.pem", "-alpn", "h2"]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False)
    assert (b"New, TLSv1.3" in done.stdout) == works
    assert (done.returncode == 0) == works


async def test_a_new_authority_ends_access_of_open_connections(tmp_path: Path) -> None:
    bin_dir = Path(sys.executable).parent
    certs = make_certificates(bin_dir, tmp_path / "certs")
    with Server.started(bin_dir, certs, tmp_path / "state") as server:
        async with client(server, "admin") as admin:
            job = await admin.create("sleep", "60")
            stream = admin.stub.GetJobsStream(job_service_pb2.GetJobsStreamRequest(id=job.id), timeout=60)
            make_certificates(bin_dir, certs, "--force")
            async with refused(grpc.StatusCode.UNAUTHENTICATED) as refusal:
                await stream.read()
            assert refusal.reason == "UNAUTHENTICATED"
            async with refused(grpc.StatusCode.UNAUTHENTICATED):
                await admin.create("true")
        async with client(server, "admin") as admin:
            await admin.stop(job.id)


async def test_the_server_uses_renewed_certificates_without_a_restart(tmp_path: Path) -> None:
    bin_dir = Path(sys.executable).parent
    certs = make_certificates(bin_dir, tmp_path / "certs")
    with Server.started(bin_dir, certs, tmp_path / "state") as server:
        old = ssl.get_server_certificate(_host_and_port(server))
        async with client(server, "admin") as before:
            _renew_all(bin_dir, certs)
            async with client(server, "admin") as after:
                await after.create("true")
            await before.create("true")
        new = (certs / "server.pem").read_text()
        assert new != old
        # The server asks for replaced files at most every 0.1 seconds.
        until(lambda: ssl.get_server_certificate(_host_and_port(server)) == new)


def _renew_all(bin_dir: Path, certs: Path) -> None:
    argv = [str(bin_dir / "jobworkerd"), "certs", "renew", "--all", "--dir", str(certs)]
    subprocess.run(argv, check=True, capture_output=True)


def _host_and_port(server: Server) -> tuple[str, int]:
    host, _, port = server.address.rpartition(":")
    return host, int(port)


def _channel(server: Server, certs: Path, leaf: trustme.LeafCert) -> grpc.aio.Channel:
    chain = b"".join(blob.bytes() for blob in leaf.cert_chain_pems)
    credentials = grpc.ssl_channel_credentials(
        (certs / "ca.pem").read_bytes(), leaf.private_key_pem.bytes(), chain
    )
    return grpc.aio.secure_channel(server.address, credentials)


async def _call(channel: grpc.aio.Channel, method: str, request: object) -> None:
    """Call a method. Of a stream, the first message is enough."""
    stub = job_service_pb2_grpc.JobServiceStub(channel)
    call = getattr(stub, method)(iter([request]) if method == "AttachJob" else request, timeout=30)
    if hasattr(call, "__aiter__"):
        async for _ in call:
            call.cancel()
            break
    else:
        await call


async def _code(channel: grpc.aio.Channel, path: str) -> grpc.StatusCode:
    """Return the status of a call with an empty request; OK at the first response of an endless stream."""
    method: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(path)

    async def first_response() -> None:
        call = method(iter([b""]), timeout=30)
        await call.read()
        call.cancel()

    try:
        await until_status_known(first_response)
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


async def _once(message: T) -> AsyncIterator[T]:
    yield message


async def _served_methods(client: Client) -> dict[str, list[str]]:
    """Return the methods of every service that reflection lists."""
    stub = reflection_pb2_grpc.ServerReflectionStub(client.channel)
    ask = reflection_pb2.ServerReflectionRequest
    listing = [each async for each in stub.ServerReflectionInfo(_once(ask(list_services="")), timeout=30)]
    services = [service.name for service in listing[0].list_services_response.service]
    found: dict[str, list[str]] = {}
    for name in services:
        question = _once(ask(file_containing_symbol=name))
        async for answer in stub.ServerReflectionInfo(question, timeout=30):
            for blob in answer.file_descriptor_response.file_descriptor_proto:
                file = descriptor_pb2.FileDescriptorProto.FromString(blob)
                for service in file.service:
                    if f"{file.package}.{service.name}" == name:
                        found[name] = [method.name for method in service.method]
    assert "jobworker.v1.JobService" in found
    return found
