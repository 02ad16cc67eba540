"""The base class of the interceptors, which treat unary and streaming methods alike."""

import abc
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from typing import Any, TypeAlias, cast

import grpc
from grpc import aio

from jobworkerd.rpc_server.rpc import UNREAD, Call, Context, read_request

Method = Callable[[Any, Context], Awaitable[Any] | AsyncIterator[Any]]
"""A method of a servicer, with messages of any type."""

_Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
_Find: TypeAlias = "Callable[[grpc.HandlerCallDetails], Awaitable[_Handler | None]]"
Run = Callable[[Call], Awaitable[object]]
"""The rest of a call: the next interceptor or the method."""


class ServerInterceptor(abc.ABC):
    """An interceptor, which runs code before a call, after it, and after an error."""

    @abc.abstractmethod
    async def intercept(self, call: Call, run: Run) -> object:
        """Await `run(call)` and return its result.

        Exceptions of the handler, including cancellation, pass through this method.
        """


class InterceptorChain(aio.ServerInterceptor):
    """Wraps every method of a server in all interceptors, the first one outermost.

    gRPC requests the handler for each call. A method is wrapped on its first call.
    """

    def __init__(self, interceptors: Sequence[ServerInterceptor]) -> None:
        self._interceptors = tuple(interceptors)
        self._wrapped: dict[str, _Handler] = {}

    async def intercept_service(
        self, continuation: _Find, handler_call_details: grpc.HandlerCallDetails
    ) -> "_Handler | None":
        """Return the wrapped handler of a method, or None for an unknown method."""
        method: str = handler_call_details.method
        if wrapped := self._wrapped.get(method):
            return wrapped
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        wrapped = self._wrapped[method] = self._wrap(method.removeprefix("/"), handler)
        return wrapped

    def _wrap(self, name: str, handler: _Handler) -> _Handler:
        """Return a handler that gRPC calls before it reads the request.

        gRPC reads the request of a unary handler before it calls the handler. The handler could not bound how
        many requests are read, nor how long that takes. A stream of one message has the same bytes.
        """
        run = _runner(_method_of(handler))
        for interceptor in reversed(self._interceptors):
            run = partial(interceptor.intercept, run=run)

        async def handle(stream: object, context: Context) -> object:
            return await run(Call(name, context, stream if handler.request_streaming else UNREAD))

        make = (
            grpc.stream_stream_rpc_method_handler
            if handler.response_streaming
            else grpc.stream_unary_rpc_method_handler
        )
        return make(handle, handler.request_deserializer, handler.response_serializer)


def _method_of(handler: _Handler) -> Method:
    kinds = (handler.unary_unary, handler.unary_stream, handler.stream_unary, handler.stream_stream)
    # The stubs declare only methods of threaded servers.
    return next(cast("Method", kind) for kind in kinds if kind)


def _runner(method: Method) -> Run:
    """Return a function that calls a method. The method returns a message, yields messages or writes them.

    Yielded messages are written here, so that a stream is one coroutine in all interceptors. An abandoned
    generator would leave the interceptors only when it is garbage collected.
    """

    async def run(call: Call) -> object:
        call = await read_request(call)
        answer = method(call.request, call.context)
        if inspect.isawaitable(answer):
            return await answer
        async for message in answer:
            await call.context.write(message)
        return None

    return run
