"""The methods that the proxy passes on: those of JobService and ClusterService. It refuses all others."""

from jobworker.v1 import cluster_service_pb2, job_service_pb2

_SERVICES = (
    job_service_pb2.DESCRIPTOR.services_by_name["JobService"],
    cluster_service_pb2.DESCRIPTOR.services_by_name["ClusterService"],
)

_METHODS = {
    f"/{service.full_name}/{method.name}": method.server_streaming
    for service in _SERVICES
    for method in service.methods
}

UNARY = frozenset(path for path, is_stream in _METHODS.items() if not is_stream)
"""Paths of the methods with one request and one response."""

STREAMS = frozenset(path for path, is_stream in _METHODS.items() if is_stream)
"""Paths of the methods with a stream of responses."""

LIST_NODES = f"/{_SERVICES[1].full_name}/ListNodes"
"""Path of the method that only a gateway has."""
