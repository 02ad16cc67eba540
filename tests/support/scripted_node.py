"""A node of a cluster whose answers a test scripts: a gRPC server with mTLS, and its certificates."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import trustme
from google.protobuf.message import Message
from grpc import aio

from jobworker_gateway.node_certificate import CertificateFiles
from jobworker_gateway.node_connections import SUBJECT_KEY
from jobworkerd import errors
from jobworkerd.rpc_server.status import to_status

Context = aio.ServicerContext[bytes, bytes]
Script = Callable[[Context], Awaitable[None]]
"""The part of the node in a call: it reads from the context and writes to it."""


class ScriptedNode:
    """A server on a loopback port, which can stop and restart on the same port."""

    def __init__(self, authority: trustme.CA, directory: Path) -> None:
        self.calls: list[tuple[str, str]] = []
        """The method and the subject of each call."""
        self.traces: list[dict[str, str]] = []
        """The headers of the trace of each call."""
        self.peers: set[str] = set()
        """The connections of all calls."""
        self.scripts: dict[str, list[Script]] = {}
        self.port = 0
        leaf = authority.issue_cert("localhost", "127.0.0.1")
        self._credentials = grpc.ssl_server_credentials(
            [(leaf.private_key_pem.bytes(), leaf.cert_chain_pems[0].bytes())],
            root_certificates=authority.cert_pem.bytes(),
            require_client_auth=True,
        )
        self._server: aio.Server | None = None
        self.files = gateway_files(authority, directory)

    @property
    def address(self) -> str:
        """The address of the server."""
        return f"127.0.0.1:{self.port}"

    def on(self, method: str, *scripts: Script) -> None:
        """Set what the node does in the next calls of a method; the last script is used again."""
        self.scripts[method] = list(scripts)

    async def start(self) -> None:
        """Listen on a free port, or again on the first one."""
        server = aio.server()
        server.add_generic_rpc_handlers((_Handlers(self._serve),))
        self.port = server.add_secure_port(f"127.0.0.1:{self.port}", self._credentials)
        await server.start()
        self._server = server

    async def stop(self) -> None:
        """End all calls and stop."""
        if self._server:
            await self._server.stop(None)
            self._server = None

    async def _serve(self, method: str, context: Context) -> None:
        metadata = dict(context.invocation_metadata() or ())
        subject = metadata.get(SUBJECT_KEY, b"")
        self.traces.append({key: str(metadata[key]) for key in metadata if key.startswith("trace")})
        assert isinstance(subject, bytes)
        self.calls.append((method, subject.decode()))
        self.peers.add(context.peer())
        scripts = self.scripts[method]
        await (scripts.pop(0) if len(scripts) > 1 else scripts[0])(context)


class _Handlers(grpc.GenericRpcHandler):
    def __init__(self, serve: Callable[[str, Context], Awaitable[None]]) -> None:
        self._serve = serve

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """Return the handler of a method. Each method is a stream, with the same bytes."""
        method = handler_call_details.method.rpartition("/")[2]

        async def handle(_: object, context: Context) -> None:
            await self._serve(method, context)

        return grpc.stream_stream_rpc_method_handler(handle)


@asynccontextmanager
async def running_node(authority: trustme.CA, directory: Path) -> AsyncIterator[ScriptedNode]:
    """Run a node until the context ends."""
    node = ScriptedNode(authority, directory)
    await node.start()
    try:
        yield node
    finally:
        await node.stop()


def gateway_files(authority: trustme.CA, directory: Path) -> CertificateFiles:
    """Write a certificate of a gateway, which replaces an earlier one."""
    files = CertificateFiles(directory / "ca.pem", directory / "gateway.pem", directory / "gateway-key.pem")
    leaf = authority.issue_cert("gateway@example.org", organization_unit_name="Gateway")
    authority.cert_pem.write_to_path(files.ca)
    leaf.cert_chain_pems[0].write_to_path(files.cert)
    leaf.private_key_pem.write_to_path(files.key)
    return files


def answer(*messages: Message) -> Script:
    """Return a script that accepts the call and writes messages."""

    async def script(context: Context) -> None:
        await context.read()
        await context.send_initial_metadata(())
        for message in messages:
            await context.write(message.SerializeToString())

    return script


def fail(error: errors.JobWorkerError, *messages: Message) -> Script:
    """Return a script that writes messages and ends with an error."""

    async def script(context: Context) -> None:
        await context.read()
        for message in messages:
            await context.write(message.SerializeToString())
        await context.abort_with_status(to_status(error))

    return script


async def hang(context: Context) -> None:
    """Read the request and do nothing: no headers, no messages, no end."""
    await context.read()
    await asyncio.Event().wait()


def then_wait(waiting: asyncio.Event, *messages: Message) -> Script:
    """Return a script that writes messages, sets an event and does not end."""

    async def script(context: Context) -> None:
        await answer(*messages)(context)
        waiting.set()
        await asyncio.Event().wait()

    return script
