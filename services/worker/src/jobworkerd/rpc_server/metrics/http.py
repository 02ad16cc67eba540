"""The part of HTTP/1.1 that a Prometheus endpoint needs: one request per connection, without a body.

https://www.rfc-editor.org/rfc/rfc9112
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

MAX_HEAD_BYTES = 16 * 1024
_END = b"\r\n\r\n"
_PLAIN = "text/plain; charset=utf-8"


class BadRequest(ValueError):
    """Raised for bytes that are not the head of a request."""


@dataclass(frozen=True)
class Request:
    """The head of a request. The names of `headers` are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Response:
    """A response, after which the server closes the connection."""

    status: HTTPStatus
    body: str
    content_type: str = _PLAIN

    def encode(self, *, with_body: bool = True) -> bytes:
        """Return the bytes of the response. `with_body` is false for a HEAD request."""
        body = self.body.encode()
        head = (
            f"HTTP/1.1 {self.status.value} {self.status.phrase}\r\n"
            f"Content-Type: {self.content_type}\r\n"
            f"Content-Length: {len(body)}\r\n"
            "X-Content-Type-Options: nosniff\r\n"
            "Connection: close\r\n\r\n"
        )
        return head.encode("ascii") + (body if with_body else b"")


async def read_request(reader: asyncio.StreamReader) -> Request:
    """Read the head of a request. The limit of the reader bounds its size.

    Raises:
        BadRequest: the bytes are not the head of a request, or it is too long.
        EOFError: the client has closed the connection.
    """
    try:
        head = await reader.readuntil(_END)
    except asyncio.LimitOverrunError as error:
        raise BadRequest(f"the head of the request is longer than {MAX_HEAD_BYTES} bytes") from error
    return parse(head)


def parse(head: bytes) -> Request:
    """Parse the head of a request.

    Raises:
        BadRequest: the bytes are not the head of a request.
    """
    first, *lines = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        raise BadRequest("the first line is not that of an HTTP/1.1 request")
    headers = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise BadRequest("a header line has no name")
        headers[name.lower()] = value.strip()
    return Request(words[0], words[1].partition("?")[0], headers)
