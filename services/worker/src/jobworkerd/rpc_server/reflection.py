"""Adds server reflection, so that grpcurl and `buf curl` need no proto file.

grpcio-reflection serves only `v1alpha`. The messages of `v1` differ only in their package, which is not part
of the encoding, so one servicer serves both.
"""

from collections.abc import Sequence

import grpc
from google.protobuf import descriptor_pool, text_format
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc import aio
from grpc_reflection.v1alpha import reflection, reflection_pb2

from jobworkerd.rpc_server.streaming import headers

_V1 = "grpc.reflection.v1.ServerReflection"

_STANDARD = ("grpc.health.v1.Health", _V1, reflection.SERVICE_NAME)


def add_reflection(server: aio.Server, services: Sequence[str]) -> None:
    """Add both versions to a server that has not been started. They list `services` and the standard ones."""
    servicer = reflection.aio.ReflectionServicer((*services, *_STANDARD), _Pool(_pool_with_v1()))
    handler = grpc.stream_stream_rpc_method_handler(
        headers.at_once(servicer.ServerReflectionInfo),
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    for service in (_V1, reflection.SERVICE_NAME):
        handlers = grpc.method_handlers_generic_handler(service, {"ServerReflectionInfo": handler})
        server.add_generic_rpc_handlers((handlers,))


def _pool_with_v1() -> descriptor_pool.DescriptorPool:
    """Return the pool of the generated code, with `v1` added as a renamed copy of `v1alpha`."""
    pool = descriptor_pool.Default()
    v1alpha = FileDescriptorProto()
    reflection_pb2.DESCRIPTOR.CopyToProto(v1alpha)
    text = text_format.MessageToString(v1alpha).replace("v1alpha", "v1")
    pool.AddSerializedFile(text_format.Parse(text, FileDescriptorProto()).SerializeToString())
    return pool


class _Pool:
    """A descriptor pool that also finds methods by name, for `grpcurl describe`.

    The pool of protobuf finds the files of all other symbols.
    """

    def __init__(self, pool: descriptor_pool.DescriptorPool) -> None:
        self._pool = pool

    def __getattr__(self, name: str) -> object:
        return getattr(self._pool, name)

    def FindFileContainingSymbol(self, symbol: str) -> FileDescriptor:  # noqa: N802 - protobuf's name
        """Return the file of a symbol. Raises KeyError if no file has the symbol."""
        try:
            return self._pool.FindFileContainingSymbol(symbol)
        except KeyError:
            return self._pool.FindMethodByName(symbol).containing_service.file
