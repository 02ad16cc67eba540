"""The standard health service of gRPC."""

# ruff: noqa: N802 - the methods have the names that the API gives them

import asyncio
from collections.abc import Collection, Iterable

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from jobworkerd.rpc_server.rpc import Context

SERVICES = ("", "jobworker.v1.JobService")
"""The whole server, and JobService."""

LIMITS = "limits"
"""The status of this name is SERVING while limits can be enforced as at the start."""

CERTIFICATES = "certificates"
"""The status of this name is SERVING while all certificates of the server are valid for another 30 days."""

ALL = (*SERVICES, LIMITS, CERTIFICATES)

STARTING = "the server is starting"
NO_ANSWER = "the supervisor does not answer"
DRAINING = "the server is shutting down"
UNLIMITED = "limits cannot be enforced"


class Health(health_pb2_grpc.HealthServicer):
    """Services are SERVING unless a reason against it is set. The first reason is STARTING.

    In the base class of grpcio-health-checking, watchers share a lock during a write. A client that does not
    read could delay the other watchers and the shutdown of the server.
    """

    def __init__(self, names: Collection[str] = ALL) -> None:
        """`names` are the services and the other names that have a status."""
        self._reasons = dict.fromkeys(names, frozenset({STARTING}))
        self._changed = asyncio.Event()

    def add(self, reason: str, services: Iterable[str] | None = None) -> None:
        """Add a reason why services do not serve; without `services`, to all of them."""
        affected = self._reasons if services is None else services
        self._reasons |= {name: self._reasons[name] | {reason} for name in affected}
        self._notify()

    def remove(self, reason: str) -> None:
        """Remove a reason from all services."""
        self._reasons = {name: reasons - {reason} for name, reasons in self._reasons.items()}
        self._notify()

    def note_expiry(self, certificate: str, notice: str) -> None:
        """Let the status of CERTIFICATES follow the notice of a certificate; an empty notice removes it."""
        reason = f"the certificate {certificate} expires soon"
        if notice:
            self.add(reason, (CERTIFICATES,))
        else:
            self.remove(reason)

    async def Check(
        self, request: health_pb2.HealthCheckRequest, context: Context
    ) -> health_pb2.HealthCheckResponse:
        """Return the status of a service."""
        if request.service not in self._reasons:
            known = ", ".join(map(repr, self._reasons))
            message = f"unknown service {request.service!r}; use one of {known}"
            await context.abort(grpc.StatusCode.NOT_FOUND, message)
        return health_pb2.HealthCheckResponse(status=self._status(request.service))

    async def List(
        self,
        request: health_pb2.HealthListRequest,  # noqa: ARG002 - gRPC's signature
        context: Context,  # noqa: ARG002 - gRPC's signature
    ) -> health_pb2.HealthListResponse:
        """Return the status of every service."""
        return health_pb2.HealthListResponse(
            statuses={
                name: health_pb2.HealthCheckResponse(status=self._status(name)) for name in self._reasons
            }
        )

    async def Watch(self, request: health_pb2.HealthCheckRequest, context: Context) -> None:
        """Write the status of a service, now and after each change."""
        written = None
        while True:
            changed, status = self._changed, self._status(request.service)
            if status != written:
                await context.write(health_pb2.HealthCheckResponse(status=status))
                written = status
            await changed.wait()

    def _status(self, service: str) -> health_pb2.HealthCheckResponse.ServingStatus:
        if service not in self._reasons:
            return health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
        if self._reasons[service]:
            return health_pb2.HealthCheckResponse.NOT_SERVING
        return health_pb2.HealthCheckResponse.SERVING

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
