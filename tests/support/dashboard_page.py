"""Sends the requests of a page of the dashboard, without a browser."""

import base64
import http.client
import json
from dataclasses import dataclass

from google.protobuf.message import Message
from google.rpc import error_details_pb2
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Origin, Subprotocol

SERVICE = "/jobworker.v1.JobService"


@dataclass(frozen=True)
class Page:
    """A page of the dashboard, with the cookie of its session."""

    origin: str
    cookie: str

    @classmethod
    def logged_in(cls, link: str) -> "Page":
        """Log in with a link."""
        origin, _, token = link.partition("/login#")
        answer = log_in(origin, token)
        assert answer.status == 200
        return cls(origin, answer.headers["set-cookie"].partition(";")[0])

    def request(
        self, method: str, path: str, body: bytes = b"", **headers: str
    ) -> "tuple[http.client.HTTPResponse, bytes]":
        """Send a request of the page. Headers replace those of the page; an empty one is not sent."""
        given = {"cookie": self.cookie, "origin": self.origin, "content-type": "application/proto"}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        return request(self.origin, method, path, body, {k: v for k, v in given.items() if v})

    def call(self, method: str, message: Message) -> "tuple[http.client.HTTPResponse, bytes]":
        """Call a method with one response."""
        return self.request("POST", f"{SERVICE}/{method}", message.SerializeToString())

    def stream(self, method: str, **headers: str) -> connect:
        """Open a stream."""
        given = {"cookie": self.cookie} | {name.replace("_", "-"): value for name, value in headers.items()}
        return connect(
            self.origin.replace("http", "ws", 1) + f"{SERVICE}/{method}",
            origin=Origin(given.pop("origin", self.origin)),
            subprotocols=[Subprotocol("jobworker.v1")],
            additional_headers={name: value for name, value in given.items() if value},
            max_size=None,
            proxy=None,
        )


def request(
    origin: str, method: str, path: str, body: bytes, headers: dict[str, str]
) -> "tuple[http.client.HTTPResponse, bytes]":
    """Send a request and return the response with its body."""
    connection = http.client.HTTPConnection(origin.removeprefix("http://"), timeout=60)
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer, content


def log_in(origin: str, token: str) -> http.client.HTTPResponse:
    """Exchange a token for a cookie."""
    body = json.dumps({"token": token}).encode()
    return request(origin, "POST", "/session", body, {"origin": origin})[0]


async def responses(stream: ClientConnection) -> tuple[list[bytes], dict[str, object]]:
    """Return the messages of a stream and its end. The close of the WebSocket follows."""
    found: list[bytes] = []
    async for message in stream:
        if isinstance(message, str):
            end: dict[str, object] = json.loads(message)
            await stream.wait_closed()
            assert stream.close_code == 1000
            return found, end
        found.append(message)
    raise AssertionError(f"closed with {stream.close_code} before the end of the stream")


def reason(error: object) -> str:
    """Return the reason in the details of an error."""
    assert isinstance(error, dict)
    (value,) = (each["value"] for each in error["details"] if each["type"] == "google.rpc.ErrorInfo")
    return str(error_details_pb2.ErrorInfo.FromString(base64.b64decode(value + "==")).reason)
