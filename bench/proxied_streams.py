"""Streams through the proxy of the dashboard, without a browser."""

import asyncio
import contextlib
import json
import urllib.request
from collections.abc import Callable

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosedOK
from websockets.typing import Subprotocol

from dashboard import Dashboard

_STREAM = "/jobworker.v1.JobService/GetJobsStream"
_PROTOCOL = Subprotocol("jobworker.v1")
_SAMPLE_SECONDS = 0.02


def log_in(dashboard: Dashboard) -> str:
    """Exchange the token of the printed address for a cookie, and return it."""
    token = dashboard.login.partition("#")[2]
    request = urllib.request.Request(
        f"{dashboard.origin}/session",
        json.dumps({"token": token}).encode(),
        {"Content-Type": "application/json", "Origin": dashboard.origin},
    )
    with urllib.request.urlopen(request) as response:
        return str(response.headers["Set-Cookie"]).partition(";")[0]


async def read_stream(dashboard: Dashboard, cookie: str, request: bytes) -> int:
    """Read a stream of output to its end, and return the bytes of its messages."""
    address = dashboard.origin.replace("http", "ws", 1) + _STREAM
    headers = {"Cookie": cookie, "Origin": dashboard.origin}
    total = 0
    async with connect(
        address, subprotocols=[_PROTOCOL], additional_headers=headers, max_size=None
    ) as socket:
        await socket.send(request)
        await socket.send("end")
        async for message in socket:
            if isinstance(message, str):
                assert message == "{}", message
                continue
            total += len(message)
            # The proxy sends no more than 4 MiB that the client has not consumed. It can have sent the end.
            with contextlib.suppress(ConnectionClosedOK):
                await socket.send(str(total))
    return total


async def peak(value: Callable[[], int], done: asyncio.Future[list[int]]) -> int:
    """Return the highest value until a future is done."""
    highest = value()
    while not done.done():
        await asyncio.sleep(_SAMPLE_SECONDS)
        highest = max(highest, value())
    return highest
