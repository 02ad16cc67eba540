"""The base of the interceptors: code around an RPC, the same for unary and streaming methods."""

import abc
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from grpc_interceptor.server import AsyncServerInterceptor

from jobworkerd.api.rpc import Call, Context

Handler = Callable[[Any, Context], Awaitable[Any] | AsyncIterator[Any]]
"""A method of a servicer, or the next interceptor. Its messages are of any type."""


class Around(AsyncServerInterceptor):
    """An interceptor that is a context manager: it is entered before the handler and left after it.

    What the handler raises passes through the context manager, cancellation too.
    """

    @abc.abstractmethod
    def around(self, call: Call) -> AbstractAsyncContextManager[None]:
        """Returns the context manager that the call runs in."""

    async def intercept(
        self, method: Handler, request_or_iterator: object, context: Context, method_name: str
    ) -> object:
        """Runs the handler within `around`; not for subclasses to override.

        A handler answers with a value, or yields messages, or writes them to the context. Messages
        that are yielded are written here, so that a stream is one coroutine through all interceptors:
        a generator that is dropped half-way would leave `around` only when it is garbage collected.
        """
        async with self.around(Call(method_name.removeprefix("/"), context, request_or_iterator)):
            answer = method(request_or_iterator, context)
            if inspect.isawaitable(answer):
                return await answer
            async for message in answer:
                await context.write(message)
            return None
