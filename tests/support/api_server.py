"""A supervisor that answers from a script, an authority and clients for tests of the API process."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import msgspec
import trustme
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from jobworker.v1 import job_service_pb2_grpc
from jobworkerd import certificate_files
from jobworkerd.logs.writer import LogWriter
from jobworkerd.metrics.definitions import JOB_OOM_KILLS
from jobworkerd.metrics.instruments import Snapshot, encode, sample
from jobworkerd.model import Job, JobSpec, JobStatus, Limits, LimitsPolicy, OutputSource
from jobworkerd.protocol import framing, messages
from jobworkerd.protocol.metrics_messages import ExportMetrics, Metrics

JOB_ID = "0199f3a0-0000-7000-8000-000000000001"
LIMITS = Limits(max_cpu=10, max_memory=1, max_io_bps=0, max_pids=1024)
SPEC = JobSpec(
    command="true",
    limits=LIMITS,
    limits_policy=LimitsPolicy.BEST_EFFORT,
    stop_signal=15,
    stop_grace_period=10.0,
    owner="CN=alice",
)
JOB = Job(id=JOB_ID, spec=SPEC, status=JobStatus.RUNNING, create_time_ns=1_000_000_001, pid=7)
FINAL_JOB = msgspec.structs.replace(JOB, status=JobStatus.COMPLETED, exit_code=0)

Script = Callable[[messages.RequestBody], messages.ReplyBody | None]
Logged = list[dict[str, object]]


class ScriptedSupervisor:
    """The supervisor's end of the socket.

    `script` returns the reply to a client's request, or None for no reply. Other requests get their normal
    reply.
    """

    def __init__(self, sock: socket.socket, certs_dir: Path) -> None:
        self._sock = sock
        self._certs_dir = certs_dir
        self._decoder = framing.FrameDecoder(msgspec.msgpack.Decoder(messages.ToSupervisor))
        self.requests: list[messages.RequestBody] = []
        self.script: Script = lambda _: messages.OneJob(JOB)
        self.answers_pings = True
        self.ready = asyncio.Event()

    async def run(self) -> None:
        """Answer requests until the socket is closed."""
        loop = asyncio.get_running_loop()
        # The process can end during a reply.
        with contextlib.suppress(ConnectionError):
            while data := await loop.sock_recv(self._sock, 65_536):
                for request in self._decoder.feed(data):
                    await self._take(request)

    async def say(self, message: messages.ToApi) -> None:
        """Send a frame that is not a reply."""
        await asyncio.get_running_loop().sock_sendall(self._sock, framing.encode(message))

    def close(self) -> None:
        """Shut the connection down: both sides read the end of the stream."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    async def _take(self, request: messages.Request) -> None:
        if isinstance(request.body, messages.Ready):
            self.ready.set()
            await self.say(messages.Reply(request.seq, messages.Done()))
            return
        if isinstance(request.body, messages.Ping):
            if self.answers_pings:
                await self.say(messages.Reply(request.seq, messages.Done()))
            return
        if isinstance(request.body, messages.GetCertificates):
            found = certificate_files.read(self._certs_dir, request.body.known)
            await self.say(messages.Reply(request.seq, found))
            return
        if isinstance(request.body, ExportMetrics):
            metrics = Metrics(encode(Snapshot(0, (sample(JOB_OOM_KILLS, 0),))))
            await self.say(messages.Reply(request.seq, metrics))
            return
        self.requests.append(request.body)
        if reply := self.script(request.body):
            await self.say(messages.Reply(request.seq, reply))


@dataclass(frozen=True)
class Authority:
    """Issues certificates with RSA keys, as `jobworkerd certs` does."""

    ca: trustme.CA = field(default_factory=trustme.CA)

    def write_server(self, directory: Path, key_type: trustme.KeyType = trustme.KeyType.RSA) -> None:
        """Write the files of a server to a directory and replace earlier files."""
        issued = self.ca.issue_cert("localhost", "127.0.0.1", key_type=key_type)
        self.ca.cert_pem.write_to_path(directory / "ca.pem")
        issued.private_key_pem.write_to_path(directory / "server-key.pem")
        issued.cert_chain_pems[0].write_to_path(directory / "server.pem")

    def write_gateway(self, directory: Path) -> None:
        """Write the files of a gateway to a directory: those of a server, and a certificate for nodes."""
        self.write_server(directory)
        issued = self.client("gateway", "Gateway")
        issued.private_key_pem.write_to_path(directory / "gateway-key.pem")
        issued.cert_chain_pems[0].write_to_path(directory / "gateway.pem")

    def client(self, name: str, unit: str | None) -> trustme.LeafCert:
        """Issue a client certificate, with or without an OU."""
        return self.ca.issue_cert(
            f"{name}@example.com",
            common_name=name,
            organization_unit_name=unit,
            key_type=trustme.KeyType.RSA,
        )


def write_log(jobs_dir: Path, output: bytes = b"") -> None:
    """Create the log of a job."""
    directory = jobs_dir / JOB_ID
    directory.mkdir(parents=True)
    writer = LogWriter.create(directory)
    if output:
        writer.append(OutputSource.STDOUT, memoryview(output), 1_000)
    writer.close()


class Client:
    """A channel with a client certificate, and the stub of the service."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel
        self.stub = job_service_pb2_grpc.JobServiceStub(channel)


@dataclass
class Api:
    """A running API with its supervisor; `logged` are the events of the log."""

    address: str
    authority: Authority
    supervisor: ScriptedSupervisor
    logged: Logged
    running: asyncio.Task[None]

    @contextlib.asynccontextmanager
    async def client(self, unit: str | None = "Admin", name: str = "alice") -> AsyncIterator[Client]:
        """Connect with a new certificate that has this OU."""
        async with self.client_with(self.authority.client(name, unit)) as client:
            yield client

    @contextlib.asynccontextmanager
    async def client_with(self, certificate: trustme.LeafCert) -> AsyncIterator[Client]:
        """Connect with a certificate."""
        async with grpc.aio.secure_channel(self.address, self._credentials(certificate)) as channel:
            yield Client(channel)

    async def status(self, unit: str | None, method: str, request: bytes) -> grpc.StatusCode:
        """Call a method of any kind as a stream, and return its status: OK after the first response.

        The blocking client of gRPC makes the call. A write of its asyncio client fails with INTERNAL if the
        server has ended the call before the write and the client has not yet seen the status.
        """
        return await asyncio.to_thread(self._blocking_status, unit, method, request)

    def _blocking_status(self, unit: str | None, method: str, request: bytes) -> grpc.StatusCode:
        certificate = self.authority.client("alice", unit)
        with grpc.secure_channel(self.address, self._credentials(certificate)) as channel:
            stream: grpc.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(f"/{method}")
            call = stream(iter([request]), timeout=30)
            try:
                next(call, None)
            except grpc.RpcError as error:
                code: grpc.StatusCode = error.code()
                return code
            call.cancel()
            return grpc.StatusCode.OK

    def _credentials(self, certificate: trustme.LeafCert) -> grpc.ChannelCredentials:
        return grpc.ssl_channel_credentials(
            self.authority.ca.cert_pem.bytes(),
            certificate.private_key_pem.bytes(),
            certificate.cert_chain_pems[0].bytes(),
        )

    def events(self, event: str) -> Logged:
        """Return the logged events with a name."""
        return [line for line in self.logged if line["event"] == event]


StartApi = Callable[..., contextlib.AbstractAsyncContextManager[Api]]


async def first(wanted: Coroutine[None, None, object], other: "asyncio.Task[None]") -> None:
    """Wait for a coroutine; if the other task ends first, raise its error."""
    task = asyncio.create_task(wanted)
    await asyncio.wait((task, other), return_when=asyncio.FIRST_COMPLETED)
    if not task.done():
        task.cancel()
        await other


async def eventually(predicate: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait until the predicate holds; fail after a timeout."""
    async with asyncio.timeout(seconds):
        while not predicate():
            await asyncio.sleep(0.01)


@dataclass(frozen=True)
class Refusal:
    """The status of a refused call, with its details by type name and the fields of ErrorInfo."""

    code: grpc.StatusCode
    message: str
    reason: str
    metadata: dict[str, str]
    details: dict[str, Message]


_DETAILS: dict[str, type[Message]] = {
    name: getattr(error_details_pb2, name)
    for name in ("ErrorInfo", "BadRequest", "ResourceInfo", "PreconditionFailure", "RetryInfo")
}


def refusal(error: grpc.aio.AioRpcError) -> Refusal:
    """Parse the status of a failed call; from_call also checks that its two copies agree."""
    status = rpc_status.from_call(error)
    details = {}
    for packed in status.details if status else ():
        name = packed.TypeName().removeprefix("google.rpc.")
        details[name] = _DETAILS[name].FromString(packed.value)
    info = details.get("ErrorInfo", error_details_pb2.ErrorInfo())
    return Refusal(error.code(), error.details() or "", info.reason, dict(info.metadata), details)
