"""The base of the interceptors: code around an RPC, the same for unary and streaming methods."""

import abc
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from typing import Any, TypeAlias, cast

import grpc
from grpc import aio

from jobworkerd.api.rpc import Call, Context

Method = Callable[[Any, Context], Awaitable[Any] | AsyncIterator[Any]]
"""A method of a servicer. Its messages are of any type."""

_Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
_Find: TypeAlias = "Callable[[grpc.HandlerCallDetails], Awaitable[_Handler | None]]"
Run = Callable[[Call], Awaitable[object]]
"""The rest of a call: the next interceptor, or the method."""


class ServerInterceptor(abc.ABC):
    """An interceptor: what happens before a call, after it, and when it ends with an error."""

    @abc.abstractmethod
    async def intercept(self, call: Call, run: Run) -> object:
        """Awaits `run(call)` and returns what that returns.

        What the handler raises passes through here, cancellation too.
        """


class InterceptorChain(aio.ServerInterceptor):
    """Runs every method of a server within all interceptors, the outermost first.

    A method is wrapped when it is called first; gRPC asks for its handler with each call.
    """

    def __init__(self, interceptors: Sequence[ServerInterceptor]) -> None:
        self._interceptors = tuple(interceptors)
        self._wrapped: dict[str, _Handler] = {}

    async def intercept_service(
        self, continuation: _Find, handler_call_details: grpc.HandlerCallDetails
    ) -> "_Handler | None":
        """Returns the wrapped handler of a method, None if no service has the method."""
        method: str = handler_call_details.method
        if wrapped := self._wrapped.get(method):
            return wrapped
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        wrapped = self._wrapped[method] = self._wrap(method.removeprefix("/"), handler)
        return wrapped

    def _wrap(self, name: str, handler: _Handler) -> _Handler:
        run = _handling(_method_of(handler))
        for interceptor in reversed(self._interceptors):
            run = partial(interceptor.intercept, run=run)

        async def handle(request: object, context: Context) -> object:
            return await run(Call(name, context, request))

        make = _MAKERS[bool(handler.request_streaming), bool(handler.response_streaming)]
        return make(handle, handler.request_deserializer, handler.response_serializer)


_MAKERS: dict[tuple[bool, bool], Callable[..., _Handler]] = {
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, False): grpc.stream_unary_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}


def _method_of(handler: _Handler) -> Method:
    kinds = (handler.unary_unary, handler.unary_stream, handler.stream_unary, handler.stream_stream)
    # The stubs know methods of threaded servers only.
    return next(cast("Method", kind) for kind in kinds if kind)


def _handling(method: Method) -> Run:
    """Returns what calls a method, which answers with a value, yields messages or writes them itself.

    Messages that are yielded are written here, so that a stream is one coroutine through all interceptors:
    a generator that is dropped half-way would leave them only when it is garbage collected.
    """

    async def run(call: Call) -> object:
        answer = method(call.request, call.context)
        if inspect.isawaitable(answer):
            return await answer
        async for message in answer:
            await call.context.write(message)
        return None

    return run
