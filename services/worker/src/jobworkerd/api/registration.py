"""Adds JobService to a server, as the generated code does, except for what a stream is written as."""

from typing import Any

import grpc
from google.protobuf.message_factory import GetMessageClass
from grpc import aio

from jobworker.v1 import job_service_pb2
from jobworkerd.api.service import JobService


def add_job_service(server: aio.Server, service: JobService) -> None:
    """Adds the service; the handler of a streaming method writes messages that are serialized already.

    gRPC's own serializer would serialize a message once for each reader that it goes to.
    """
    described = job_service_pb2.DESCRIPTOR.services_by_name["JobService"]
    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
    for method in described.methods:
        behaviour = getattr(service, method.name)
        deserialize = GetMessageClass(method.input_type).FromString
        if method.server_streaming:
            handlers[method.name] = grpc.unary_stream_rpc_method_handler(
                behaviour, request_deserializer=deserialize
            )
        else:
            handlers[method.name] = grpc.unary_unary_rpc_method_handler(
                behaviour, deserialize, GetMessageClass(method.output_type).SerializeToString
            )
    name = described.full_name
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, handlers),))
    server.add_registered_method_handlers(name, handlers)
