"""Requests and responses of the Prometheus endpoint."""

import asyncio
import contextlib
from http import HTTPStatus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobworkerd.rpc_server.metrics.http import (
    MAX_HEAD_BYTES,
    BadRequest,
    Request,
    Response,
    parse,
    read_request,
)


def test_a_request_of_prometheus() -> None:
    head = b"GET /metrics?a=b HTTP/1.1\r\nHost: localhost:9464\r\nACCEPT:  text/plain \r\n\r\n"
    assert parse(head) == Request("GET", "/metrics", {"host": "localhost:9464", "accept": "text/plain"})


@pytest.mark.parametrize(
    "head",
    [
        b"\r\n\r\n",
        b"GET /metrics\r\n\r\n",
        b"GET  /metrics HTTP/1.1\r\n\r\n",
        b"GET /metrics HTTP/2\r\n\r\n",
        b"\x16\x03\x01\x00\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\n: no name\r\n\r\n",
        b"GET / HTTP/1.1\r\n folded: header\r\n\r\n",
    ],
)
def test_bytes_that_are_not_a_request(head: bytes) -> None:
    with pytest.raises(BadRequest):
        parse(head)


@given(st.binary())
def test_any_bytes_are_parsed_or_refused(head: bytes) -> None:
    with contextlib.suppress(BadRequest):
        parse(head + b"\r\n\r\n")


async def test_the_head_is_bounded() -> None:
    reader = asyncio.StreamReader(limit=MAX_HEAD_BYTES)
    reader.feed_data(b"GET / HTTP/1.1\r\na: " + b"x" * 2 * MAX_HEAD_BYTES)
    with pytest.raises(BadRequest, match="longer than 16384 bytes"):
        await read_request(reader)


async def test_a_client_that_closes_the_connection() -> None:
    reader = asyncio.StreamReader(limit=MAX_HEAD_BYTES)
    reader.feed_data(b"GET / HTTP/1.1\r\n")
    reader.feed_eof()
    with pytest.raises(EOFError):
        await read_request(reader)


def test_a_response_has_the_length_of_its_bytes() -> None:
    response = Response(HTTPStatus.OK, "\N{SNOWMAN}\n")
    head, _, body = response.encode().partition(b"\r\n\r\n")
    assert (b"Content-Length: 4" in head, body.decode()) == (True, "\N{SNOWMAN}\n")
    assert response.encode(with_body=False) == head + b"\r\n\r\n"
