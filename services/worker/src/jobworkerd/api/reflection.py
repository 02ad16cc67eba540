"""Server reflection, so that grpcurl and `buf curl` need no proto file.

grpcio-reflection serves `v1alpha` only. The messages of `v1` are the same but for their package, which
is not in their encoding, so the same servicer answers under both names.
"""

import grpc
from grpc import aio
from grpc_reflection.v1alpha import reflection, reflection_pb2

_V1 = "grpc.reflection.v1.ServerReflection"

_DESCRIBED = ("jobworker.v1.JobService", "grpc.health.v1.Health", reflection.SERVICE_NAME)
"""`v1` is not among them: there is no descriptor of it to show."""


def add_reflection(server: aio.Server) -> None:
    """Adds both versions to a server that is not started yet."""
    reflection.enable_server_reflection(_DESCRIBED, server)
    servicer = reflection.aio.ReflectionServicer(_DESCRIBED)
    handler = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    handlers = grpc.method_handlers_generic_handler(_V1, {"ServerReflectionInfo": handler})
    server.add_generic_rpc_handlers((handlers,))
