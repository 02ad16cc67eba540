"""Bounds the calls and connections of each client and of the process, and the time of a request message."""

import asyncio

from jobworkerd.errors import CREDENTIAL_ERRORS, InvalidRequest, QuotaExceeded, ServerBusy, Unauthenticated
from jobworkerd.rpc_server.clients import Client, Clients
from jobworkerd.rpc_server.identity.principal import Identities, Principal, Role, credential, of_connection
from jobworkerd.rpc_server.identity.session_token import Sessions
from jobworkerd.rpc_server.interceptors.server_interceptor import Run, ServerInterceptor
from jobworkerd.rpc_server.rpc import UNREAD, Call, Context, Credential, read_request

_READ_SECONDS = 10.0
_CHECK_SECONDS = 1.0

_LARGE_METADATA_CALLS = 16
"""Calls of one client that can have metadata of any accepted size, which stay in memory until their end."""

_METADATA_BYTES = 16 * 1024
"""Accepted size of the metadata of further calls. The clients of gRPC accept 8 KiB by default."""


class CallBounds(ServerInterceptor):
    """Refuses calls beyond a bound before their request is read, and reads the request."""

    def __init__(
        self, identities: Identities, sessions: Sessions, clients: Clients, max_concurrent_rpcs: int
    ) -> None:
        self._identities = identities
        self._sessions = sessions
        self._clients = clients
        self._max_rpcs = max_concurrent_rpcs
        self._rpcs = 0
        self._reading: dict[asyncio.Task[object], float] = {}

    async def intercept(self, call: Call, run: Run) -> object:
        call = _with_credential(call)
        connected = self._principal(of_connection(call.credential)) if call.credential else None
        caller = await self._caller(call, connected)
        client = self._clients.client(caller)
        with client:
            self._clients.admit(call.context.peer(), self._clients.client(connected))
            self._check(call, client)
            self._rpcs += 1
            try:
                if call.request is UNREAD:
                    call = await self._read(call, client)
                return await run(call)
            finally:
                self._rpcs -= 1

    async def _caller(self, call: Call, connected: Principal | None) -> Principal | None:
        """Return the client of a call. It is not the client of its connection if a delegate makes the call.

        A delegate makes calls of many users over one connection. A call with a session that is not valid is
        its own. All calls of a gateway are its own, because it has checked the quotas of the users.
        """
        presented = call.credential
        if presented is None or not presented.session:
            return connected
        # The sessions of other clients are refused, so that nothing is loaded for them.
        if connected and connected.role is Role.DELEGATE and not self._sessions.is_loaded(presented.session):
            await self._load(call, presented.session, self._clients.client(connected))
        return self._principal(presented) or connected

    async def _load(self, call: Call, token: bytes, delegate: Client) -> None:
        """Load a session. Until its user is known, the call counts for the delegate."""
        with delegate:
            self._check(call, delegate)
            self._rpcs += 1
            try:
                await self._sessions.load(token)
            finally:
                self._rpcs -= 1

    def _principal(self, presented: Credential | None) -> Principal | None:
        try:
            return self._identities.check(presented) if presented else None
        except CREDENTIAL_ERRORS:
            return None

    def _check(self, call: Call, client: Client) -> None:
        if client.rpcs > _LARGE_METADATA_CALLS and (size := _metadata_bytes(call.context)) > _METADATA_BYTES:
            why = f"{_LARGE_METADATA_CALLS} RPCs are in progress, and this one has {size} bytes of metadata"
            raise QuotaExceeded("metadata", _METADATA_BYTES, why, f"send at most {_METADATA_BYTES} bytes")
        # A health check has to be answered also by a busy server.
        if 0 < self._max_rpcs <= self._rpcs and not call.method.startswith("grpc.health."):
            why = f"{self._rpcs} RPCs are in progress"
            raise ServerBusy("api.max_concurrent_rpcs", self._max_rpcs, why)

    async def _read(self, call: Call, client: Client) -> Call:
        """Read the request. `end_late_reads` cancels this task if the request does not arrive."""
        await client.begin_read()
        task = asyncio.current_task()
        assert task
        self._reading[task] = asyncio.get_running_loop().time()
        try:
            return await read_request(call)
        except asyncio.CancelledError:
            if task not in self._reading and task.uncancel() == 0:
                why = f"did not arrive within {_READ_SECONDS:g} s; send it with the call"
                raise InvalidRequest({"request": why}) from None
            raise
        finally:
            self._reading.pop(task, None)
            client.end_read()

    async def end_late_reads(self) -> None:
        """End the calls whose requests do not arrive. Runs until it is cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_CHECK_SECONDS)
            late = loop.time() - _READ_SECONDS
            for task in [task for task, begin in self._reading.items() if begin < late]:
                del self._reading[task]
                task.cancel()


def _with_credential(call: Call) -> Call:
    """Return the call with the credential of the client, so that no other code asks gRPC for it again."""
    try:
        presented = credential(call.context)
    except Unauthenticated:
        return call
    return Call(call.method, call.context, call.request, presented)


def _metadata_bytes(context: Context) -> int:
    return sum(len(key) + len(value) for key, value in context.invocation_metadata() or ())
