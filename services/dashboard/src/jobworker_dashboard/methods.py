"""The methods that the proxy passes on: those of JobService. It refuses all others."""

from jobworker.v1 import job_service_pb2

_SERVICE = job_service_pb2.DESCRIPTOR.services_by_name["JobService"]

UNARY = frozenset(
    f"/{_SERVICE.full_name}/{method.name}" for method in _SERVICE.methods if not method.server_streaming
)
"""Paths of the methods with one request and one response."""

STREAMS = frozenset(
    f"/{_SERVICE.full_name}/{method.name}" for method in _SERVICE.methods if method.server_streaming
)
"""Paths of the methods with a stream of responses."""
