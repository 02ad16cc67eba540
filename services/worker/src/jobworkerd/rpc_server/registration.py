"""Adds services to a server.

The generated code cannot send serialized messages, send headers before the first message of a stream, or
return another status for requests that it cannot parse.
"""

import functools
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from grpc import aio

from jobworkerd.errors import InvalidRequest, MessageTooLarge
from jobworkerd.rpc_server.bounds import MAX_REQUEST_BYTES
from jobworkerd.rpc_server.rpc import Context, unreadable
from jobworkerd.rpc_server.streaming import headers

Refusal = InvalidRequest | MessageTooLarge


class Service(NamedTuple):
    """A service of the API, and the object with its methods."""

    described: ServiceDescriptor
    servicer: object


def add_service(server: aio.Server, service: Service) -> None:
    """Add a service. Its streaming methods write serialized messages (see `headers`).

    The serializer of gRPC would serialize a message once for each reader.
    """
    described, servicer = service
    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
    for method in described.methods:
        behaviour = getattr(servicer, method.name)
        deserialize = functools.partial(_parse, GetMessageClass(method.input_type))
        if method.client_streaming:
            handlers[method.name] = grpc.stream_stream_rpc_method_handler(
                headers.after_acceptance(behaviour), request_deserializer=deserialize
            )
        elif method.server_streaming:
            handlers[method.name] = grpc.unary_stream_rpc_method_handler(
                _rejecting_parse_errors(headers.after_acceptance(behaviour)),
                request_deserializer=deserialize,
            )
        else:
            handlers[method.name] = grpc.unary_unary_rpc_method_handler(
                _rejecting_parse_errors(behaviour),
                deserialize,
                _serialize,
            )
    name = described.full_name
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, handlers),))
    server.add_registered_method_handlers(name, handlers)


def _serialize(answer: Message | bytes) -> bytes:
    return answer if isinstance(answer, bytes) else answer.SerializeToString()


def _parse(message_class: type[Message], request: bytes) -> Message | Refusal:
    """Return the request, or an error if it cannot be parsed.

    An exception here would bypass the interceptors: the status would be UNKNOWN with the name of a Python
    class, even for a client without a role.
    """
    if len(request) > MAX_REQUEST_BYTES:
        return MessageTooLarge(len(request), MAX_REQUEST_BYTES)
    try:
        return message_class.FromString(request)
    except DecodeError as error:
        return unreadable(error)


def _rejecting_parse_errors(
    behaviour: Callable[[Any, Context], Awaitable[Any]],
) -> Callable[[Any, Context], Awaitable[Any]]:
    async def checked(request: Message | Refusal, context: Context) -> object:
        if isinstance(request, Refusal):
            raise request
        return await behaviour(request, context)

    return checked
