"""Any bytes and any requests to a live server: each call gets a status that the API documents, in time."""

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from hypothesis import assume, given
from hypothesis import strategies as st

from jobworker.v1 import job_service_pb2, node_service_pb2
from live import Server, make_certificates
from tests.fuzz.campaign import campaign
from tests.fuzz.mutations import messages_of, mutated

BIN = Path(sys.executable).parent
CALL_SECONDS = 2.0
"""Deadline of a call. Waits and streams of a running job reach it."""

LONG = {"WaitJob", "GetJobsStream", "Watch", "StopJob", "EvictJob"}
FAULTS = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DATA_LOSS}

DESCRIBED = (
    health_pb2.DESCRIPTOR,
    reflection_pb2.DESCRIPTOR,
    job_service_pb2.DESCRIPTOR,
    node_service_pb2.DESCRIPTOR,
)
METHODS: list[MethodDescriptor] = [
    method
    for described in DESCRIBED
    for service in described.services_by_name.values()
    for method in service.methods
]
CREATE = job_service_pb2.CreateJobRequest.DESCRIPTOR
RUN = "0199f3a0-0000-7000-8000-000000000001"
"""The id of a job of the cluster, which a request can start."""

GET = next(method for method in METHODS if method.name == "GetJob")

COMMANDS = st.sampled_from(["true", "/bin/true", "false", "", "\0", "/nonexistent", "é" * 9, "/" * 5_000])
"""A job is isolated, but an arbitrary command would be a risk nevertheless."""


@dataclass
class Target:
    """A live server with a job that no request may delete, and with jobs that any request may use."""

    server: Server
    channel: grpc.Channel
    gateway: grpc.Channel
    safe: str
    ids: list[str]
    pids: set[int]

    def call(self, method: MethodDescriptor, request: bytes) -> grpc.StatusCode:
        """Call a method, and return the status of its end or OK after the first message."""
        name = f"/{method.containing_service.full_name}/{method.name}"
        of_cluster = method.containing_service.name == "NodeService"
        channel = self.gateway if of_cluster else self.channel
        stream: grpc.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(name)
        call = stream(iter([request]), timeout=CALL_SECONDS)
        try:
            next(call, None)
        except grpc.RpcError as error:
            code: grpc.StatusCode = error.code()
            return code
        finally:
            call.cancel()
        return grpc.StatusCode.OK

    def check(self, method: MethodDescriptor, request: bytes) -> None:
        """Call a method. It must not fail because of the server, nor disturb another call."""
        code = self.call(method, request)
        assert code not in FAULTS, (method.full_name, code)
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            assert method.name in LONG, method.full_name
        safe = job_service_pb2.GetJobRequest(id=self.safe).SerializeToString()
        assert self.call(GET, safe) is grpc.StatusCode.OK

    def is_unharmed(self) -> None:
        """Check that no process has ended, and that the log has no bug."""
        assert self.running() == self.pids
        assert self.server.log
        log = self.server.log.read_text(errors="replace")
        harm = r'^Traceback.*|.*"event": ?"(?:bug|fault|api process ended)".*'
        assert not re.findall(harm, log, re.MULTILINE)

    def running(self) -> set[int]:
        """Return the PIDs of the supervisor and the API processes."""
        return {each.pid for each in (self.server.supervisor, *self.server.api_processes())}


def connect(server: Server, name: str) -> grpc.Channel:
    """Return a channel with a certificate."""
    files = ("ca.pem", f"{name}-key.pem", f"{name}.pem")
    contents = [(server.certs / file).read_bytes() for file in files]
    return grpc.secure_channel(server.address, grpc.ssl_channel_credentials(*contents))


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """A live server."""
    directory = tmp_path_factory.mktemp("fuzz")
    certs = make_certificates(BIN, directory / "certs")
    argv = ["certs", "issue", "gateway", "--role=gateway", "--dir", str(certs)]
    subprocess.run([BIN / "jobworkerd", *argv], check=True, capture_output=True)
    with (
        Server.started(BIN, certs, directory, JOBWORKERD_RETENTION_MAX_JOBS="1000") as server,
        connect(server, "admin") as channel,
        connect(server, "gateway") as gateway,
    ):
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes]
        call = channel.unary_unary("/jobworker.v1.JobService/CreateJob")

        def create(*argv: str) -> str:
            request = job_service_pb2.CreateJobRequest(command=argv[0], args=argv[1:], max_memory=64)
            response = call(request.SerializeToString(), timeout=60)
            return job_service_pb2.CreateJobResponse.FromString(response).job.id

        found = Target(server, channel, gateway, create("sleep", "100000"), [], set())
        found.ids += [create("true"), create("sh", "-c", "seq 1000"), create("sleep", "100000"), RUN]
        found.pids = found.running()
        yield found
        found.is_unharmed()


def requests(data: st.DataObject, method: MethodDescriptor, target: Target) -> Message:
    """Draw a request of a method. Requests with an id often have that of a job."""
    ids = st.sampled_from(target.ids) | st.text(max_size=40)
    known: dict[str, st.SearchStrategy[object]] = {"id": ids}
    if method.name == "CreateJob":
        known["command"] = COMMANDS
    if method.name == "RunJob":
        jobs = messages_of(CREATE, command=COMMANDS, request_id=st.sampled_from(["", "a", "b"]))
        known |= {"job": jobs, "owner": st.sampled_from(["", "CN=alice"])}
    return data.draw(messages_of(method.input_type, **known))


@campaign
@given(method=st.sampled_from(METHODS), request=st.binary(max_size=200))
def test_any_bytes(target: Target, method: MethodDescriptor, request: bytes) -> None:
    target.check(method, request)


@campaign
@given(method=st.sampled_from(METHODS), data=st.data())
def test_any_message(target: Target, method: MethodDescriptor, data: st.DataObject) -> None:
    target.check(method, requests(data, method, target).SerializeToString())


@campaign
@given(method=st.sampled_from(METHODS), data=st.data())
def test_mutated_messages(target: Target, method: MethodDescriptor, data: st.DataObject) -> None:
    serialized = requests(data, method, target).SerializeToString()
    request = data.draw(mutated(serialized))
    assume(target.safe.encode() not in request)
    target.check(method, request)
