"""Reads the body of a request, with a bound on its size and its time."""

import asyncio
from collections.abc import Callable

from starlette.requests import ClientDisconnect, Request

from jobworker_dashboard.connect_error import ConnectError

MAX_BYTES = 2 * 1024 * 1024
"""Size that the server accepts before it answers with an error that names its own bound."""

SECONDS = 30.0


def _take_nothing(count: int) -> None:
    """Accept each part of a body."""


async def read_body(
    request: Request, max_bytes: int = MAX_BYTES, take: Callable[[int], None] = _take_nothing
) -> bytes:
    """Return the body. `take` gets the number of bytes of each part, and can refuse it with a ConnectError.

    Raises:
        ConnectError: the body is too large, compressed, refused, or does not arrive in time.
    """
    if (encoding := request.headers.get("content-encoding", "identity")) != "identity":
        raise ConnectError(
            "invalid_argument", f"Content-Encoding: {encoding} is not accepted; do not compress"
        )
    try:
        async with asyncio.timeout(SECONDS):
            return await _read(request, max_bytes, take)
    except TimeoutError:
        raise ConnectError("deadline_exceeded", f"body: did not arrive within {SECONDS:g} s") from None
    except ClientDisconnect:
        raise ConnectError("canceled", "the client is gone") from None


async def _read(request: Request, max_bytes: int, take: Callable[[int], None]) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        take(len(chunk))
        body += chunk
        if len(body) > max_bytes:
            raise ConnectError("resource_exhausted", f"body: larger than {max_bytes} bytes")
    return bytes(body)
