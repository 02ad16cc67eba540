"""Writes the access log: one line per RPC."""

import time

import grpc
import structlog

from jobworkerd.rpc_server import call_trace
from jobworkerd.rpc_server.interceptors.server_interceptor import Run, ServerInterceptor
from jobworkerd.rpc_server.log_lines import PER_CALL
from jobworkerd.rpc_server.rpc import Call, status_of

_FAULTS = frozenset({grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DATA_LOSS})


class AccessLog(ServerInterceptor):
    """Logs method, peer, status and duration in ms, at level error for faults of the server.

    The line also has the values that other interceptors bind: subject, role and job id. It and all other
    lines of the call have the ids of the call's trace.
    """

    def __init__(self) -> None:
        self._log: structlog.typing.FilteringBoundLogger = structlog.get_logger(PER_CALL).bind()

    async def intercept(self, call: Call, run: Run) -> object:
        start = time.perf_counter()
        if trace := call_trace.of_call(call.context):
            structlog.contextvars.bind_contextvars(trace_id=trace.trace_id, span_id=trace.span_id)
        try:
            answer = await run(call)
        except BaseException as error:
            self._log_end(call, status_of(call.context, error), start)
            raise
        self._log_end(call, status_of(call.context), start)
        return answer

    def _log_end(self, call: Call, status: grpc.StatusCode, start: float) -> None:
        write = self._log.error if status in _FAULTS else self._log.info
        write(
            "rpc",
            method=call.method,
            peer=call.context.peer(),
            status=status.name,
            ms=round((time.perf_counter() - start) * 1_000, 3),
        )
