"""The standard health service: whether this process takes requests."""

# ruff: noqa: N802 - the methods have the names that the API gives them

from google.protobuf.message import Message
from grpc_health.v1 import health_pb2
from grpc_health.v1.health import aio

from jobworkerd.api.rpc import Context

SERVICES = ("", "jobworker.v1.JobService")
"""The whole server, and its one service."""


class Health(aio.HealthServicer):
    """NOT_SERVING until `ready`, and for good from `drain` on."""

    async def not_ready(self) -> None:
        """To be called before the server listens: the base class begins with SERVING."""
        for service in SERVICES:
            await self.set(service, health_pb2.HealthCheckResponse.NOT_SERVING)

    async def ready(self) -> None:
        """Says that requests are served."""
        for service in SERVICES:
            await self.set(service, health_pb2.HealthCheckResponse.SERVING)

    async def drain(self) -> None:
        """Says that no new requests should come."""
        await self.enter_graceful_shutdown()

    async def List(self, request: Message, context: Context) -> Message:  # noqa: ARG002 - gRPC's signature
        """Returns the health of every service, which the base class does not."""
        statuses = {
            service: await self.Check(health_pb2.HealthCheckRequest(service=service), context)
            for service in SERVICES
        }
        listed: Message = health_pb2.HealthListResponse(statuses=statuses)
        return listed
