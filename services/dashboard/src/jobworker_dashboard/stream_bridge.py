"""Connects a WebSocket of the page with a stream of the server.

Binary messages are requests and responses. The page sends the text `end` after its last request, and decimal
numbers for the flow control. The last message to the page is the end of the stream as JSON.
"""

import asyncio
import re
from contextlib import suppress

from starlette.websockets import WebSocket, WebSocketDisconnect

from jobworker_dashboard.backend import BackendStream
from jobworker_dashboard.connect_error import ConnectError
from jobworker_dashboard.flow import MAX_QUEUED_BYTES, RequestQueue, Window
from jobworker_dashboard.request_memory import Account

SUBPROTOCOL = "jobworker.v1"

_NORMAL = 1000
_UNACCEPTABLE = 1003

_GONE = (WebSocketDisconnect, RuntimeError)
"""The errors of a send to a client that is gone."""

_CONSUMED = re.compile(r"[0-9]{1,18}", re.ASCII)


class Unacceptable(Exception):
    """Raised when the page sends a text message that the protocol does not have."""


async def end(websocket: WebSocket, error: ConnectError | None = None) -> None:
    """Send the end of the stream and close the WebSocket. A client that is gone gets nothing."""
    with suppress(*_GONE):
        await websocket.send_text(error.end_of_stream() if error else "{}")
        await websocket.close(_NORMAL)


class StreamBridge:
    """One stream between a page and the server. It ends with the client, with the stream or with an error."""

    def __init__(
        self, websocket: WebSocket, stream: BackendStream, session_ended: asyncio.Event, account: Account
    ) -> None:
        self._websocket = websocket
        self._stream = stream
        self._session_ended = session_ended
        self._account = account
        self._window = Window()
        self._requests = RequestQueue()

    async def run(self) -> ConnectError | None:
        """Pass messages on until the end. Return the error that ended the stream, if there is one."""
        receiving = asyncio.create_task(self._receive())
        writing = asyncio.create_task(self._write_requests())
        sending = asyncio.create_task(self._send_responses())
        ending = asyncio.create_task(self._end_with_session())
        tasks = {receiving, writing, sending, ending}
        try:
            done, _ = await asyncio.wait(tasks - {writing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._stream.cancel()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return await self._finish(sending if sending in done else done.pop())

    async def _finish(self, ended: "asyncio.Task[None]") -> ConnectError | None:
        try:
            ended.result()
        except ConnectError as error:
            await end(self._websocket, error)
            return error
        except Unacceptable:
            with suppress(*_GONE):
                await self._websocket.close(_UNACCEPTABLE)
        except WebSocketDisconnect:
            pass
        else:
            await end(self._websocket)
        return None

    async def _receive(self) -> None:
        """Read messages of the page until it is gone.

        Raises:
            ConnectError: the page sends more than the server accepts.
            Unacceptable: the page sends an unknown text message.
            WebSocketDisconnect: the page is gone.
        """
        while True:
            message = await self._websocket.receive()
            if message["type"] == "websocket.disconnect":
                raise WebSocketDisconnect
            request: bytes | None = message.get("bytes")
            if request is None:
                self._receive_text(message["text"])
            else:
                self._queue(request)

    def _queue(self, request: bytes) -> None:
        self._account.take(len(request))
        if not self._requests.put(request):
            why = f"requests: more than {MAX_QUEUED_BYTES} bytes are not accepted yet; wait for the server"
            raise ConnectError("resource_exhausted", why)

    def _receive_text(self, text: str) -> None:
        if text == "end":
            self._requests.end()
        elif _CONSUMED.fullmatch(text):
            self._window.consumed(int(text))
        else:
            raise Unacceptable

    async def _end_with_session(self) -> None:
        await self._session_ended.wait()
        raise ConnectError("unauthenticated", "the session has ended; log in again")

    async def _write_requests(self) -> None:
        while (request := await self._requests.get()) is not None:
            await self._stream.write(request)
            self._account.give(len(request))
        await self._stream.done_writing()

    async def _send_responses(self) -> None:
        """Send responses until the stream ends.

        Raises:
            ConnectError: the stream ended with an error.
            WebSocketDisconnect: the page is gone.
        """
        await self._window.wait_open()
        while (response := await self._stream.read()) is not None:
            # This waits while the socket is full, so a slow client holds one message here.
            await self._websocket.send_bytes(response)
            self._window.sent(len(response))
            await self._window.wait_open()
