"""Interceptors see the end of every call, for all kinds of methods."""

import grpc
import pytest
from api_server import eventually
from grpc import aio

from jobworkerd.rpc_server.interceptors.server_interceptor import Run, ServerInterceptor
from jobworkerd.rpc_server.rpc import Call
from tests.unit.rpc_server.interceptors.conftest import METHODS, SERVICE, Serve, bug, forever, nothing, refuse


class Recorder(ServerInterceptor):
    """Records its start and its end."""

    def __init__(self, name: str, notes: list[str]) -> None:
        self._name = name
        self._notes = notes

    async def intercept(self, call: Call, run: Run) -> object:
        self._notes.append(f"{self._name} enters {call.method}")
        try:
            answer = await run(call)
        except BaseException as error:
            self._notes.append(f"{self._name} leaves with {type(error).__name__}")
            raise
        self._notes.append(f"{self._name} leaves")
        return answer


@pytest.mark.parametrize("method", METHODS)
async def test_interceptors_nest_and_messages_pass_in_order(serve: Serve, method: str) -> None:
    notes: list[str] = []
    async with serve(nothing, Recorder("outer", notes), Recorder("inner", notes)) as client:
        answer = await client.call(method)
    assert answer == ([b"two"] if method == "Unary" else [b"one", b"two"])
    entered = [f"{name} enters {SERVICE}/{method}" for name in ("outer", "inner")]
    assert notes == [*entered, "inner leaves", "outer leaves"]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("behaviour", "error", "code"),
    [(bug, "RuntimeError", grpc.StatusCode.UNKNOWN), (refuse, "AbortError", grpc.StatusCode.DATA_LOSS)],
)
async def test_errors_pass_through(
    serve: Serve, method: str, behaviour: type, error: str, code: grpc.StatusCode
) -> None:
    notes: list[str] = []
    async with serve(behaviour, Recorder("outer", notes), Recorder("inner", notes)) as client:
        with pytest.raises(aio.AioRpcError) as caught:
            await client.call(method)
        # The client can receive the status before the interceptors have finished.
        await eventually(lambda: len(notes) == 4)
    assert caught.value.code() == code
    assert notes[2:] == [f"inner leaves with {error}", f"outer leaves with {error}"]


@pytest.mark.parametrize("method", METHODS)
async def test_cancellation_passes_through(serve: Serve, method: str) -> None:
    notes: list[str] = []
    async with serve(forever, Recorder("outer", notes), Recorder("inner", notes)) as client:
        call = client.start(method)
        await eventually(lambda: len(notes) == 2)
        call.cancel()
        await eventually(lambda: len(notes) == 4)
    assert notes[2:] == ["inner leaves with CancelledError", "outer leaves with CancelledError"]
