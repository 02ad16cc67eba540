"""Adds JobService to a server, as the generated code does, except for three things: messages that may be
serialized already, the time of a stream's headers, and the status of a request that cannot be parsed.
"""

import functools
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from grpc import aio

from jobworker.v1 import job_service_pb2
from jobworkerd.api.bounds import MAX_REQUEST_BYTES
from jobworkerd.api.rpc import Context
from jobworkerd.api.service import JobService
from jobworkerd.api.streaming import headers
from jobworkerd.errors import InvalidRequest

_TOO_LARGE = (
    "has {} bytes of arguments, environment, labels and other fields; use at most {}, "
    "and pass large values in a file that the job reads"
)


def add_job_service(server: aio.Server, service: JobService) -> None:
    """Adds the service; a streaming method writes messages that are serialized already (see `headers`).

    gRPC's own serializer would serialize a message once for each reader that it goes to.
    """
    described = job_service_pb2.DESCRIPTOR.services_by_name["JobService"]
    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
    for method in described.methods:
        behaviour = getattr(service, method.name)
        deserialize = functools.partial(_parse, GetMessageClass(method.input_type))
        if method.server_streaming:
            handlers[method.name] = grpc.unary_stream_rpc_method_handler(
                _refusing_what_is_no_message(headers.after_acceptance(behaviour)),
                request_deserializer=deserialize,
            )
        else:
            handlers[method.name] = grpc.unary_unary_rpc_method_handler(
                _refusing_what_is_no_message(behaviour),
                deserialize,
                _serialize,
            )
    name = described.full_name
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, handlers),))
    server.add_registered_method_handlers(name, handlers)


def _serialize(answer: Message | bytes) -> bytes:
    return answer if isinstance(answer, bytes) else answer.SerializeToString()


def _parse(message_class: type[Message], request: bytes) -> Message | InvalidRequest:
    """Returns the request, or the error for one that is not accepted.

    What is raised here passes no interceptor: gRPC would answer UNKNOWN, with the name of a Python class,
    and a caller without a role would get that answer, too.
    """
    if len(request) > MAX_REQUEST_BYTES:
        return InvalidRequest({"request": _TOO_LARGE.format(len(request), MAX_REQUEST_BYTES)})
    try:
        return message_class.FromString(request)
    except DecodeError as error:
        return InvalidRequest({"request": f"cannot be parsed as a message whose strings are UTF-8: {error}"})


def _refusing_what_is_no_message(
    behaviour: Callable[[Any, Context], Awaitable[Any]],
) -> Callable[[Any, Context], Awaitable[Any]]:
    async def refusing(request: Message | InvalidRequest, context: Context) -> object:
        if isinstance(request, InvalidRequest):
            raise request
        return await behaviour(request, context)

    return refusing
