"""Calls, the session, the files of the page, and what the dashboard refuses."""

import asyncio
import json
import re
import ssl
from pathlib import Path

import pytest
import trustme

from jobworker_dashboard import http_server, request_body, request_memory
from jobworker_dashboard.app import cookie_name
from jobworker_dashboard.connect_error import ConnectError
from jobworker_dashboard.request_body import MAX_BYTES
from jobworker_dashboard.security import HEADERS
from served_dashboard import STREAM, TOKEN, UNARY, Served, serving

DOCUMENTATION = Path(__file__).parents[3] / "docs/dashboard.md"


def status(head: str) -> int:
    """Return the status in the head of a response."""
    return int(head.split(" ", 2)[1])


async def test_a_call_passes_bytes_deadline_session_and_trace(served: Served) -> None:
    head, body = await served.http("POST", UNARY, b"\x0a\x01x", connect_timeout_ms="1500", traceparent="00-a")
    assert (status(head), body) == (200, b"\x0a\x01x")
    assert "cache-control: no-store" in head
    ((path, metadata, timeout),) = served.backend.calls
    assert (path, timeout) == (UNARY, 1.5)
    assert list(metadata) == [("session", b"secret"), ("traceparent", "00-a")]


@pytest.mark.parametrize("trace", ["caf\xe9", "00-a\tb", ""])
async def test_a_trace_that_grpc_refuses_is_not_passed_on(served: Served, trace: str) -> None:
    head, _ = await served.http("POST", UNARY, b"", traceparent=trace)
    ((_, metadata, _),) = served.backend.calls
    assert (status(head), list(metadata)) == (200, [("session", b"secret")])


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"content_type": "application/json"}, 400),
        ({"content_encoding": "gzip"}, 400),
        ({"connect_timeout_ms": "-1"}, 400),
        ({"connect_timeout_ms": "99999999999"}, 400),
        ({"cookie": "other=1"}, 401),
        ({"origin": "http://evil.example"}, 403),
        ({"sec_fetch_site": "cross-site"}, 403),
        ({"host": "evil.example"}, 421),
    ],
)
async def test_refused_calls_do_not_reach_the_server(
    served: Served, headers: dict[str, str], code: int
) -> None:
    head, _ = await served.http("POST", UNARY, b"", **headers)
    assert (status(head), served.backend.calls) == (code, [])


@pytest.mark.parametrize("path", [STREAM, "/jobworker.v1.LoginService/GetIdentity", "/a.B/C"])
async def test_other_methods_are_not_passed_on(served: Served, path: str) -> None:
    head, body = await served.http("POST", path)
    assert (status(head), json.loads(body)["code"]) == (501, "unimplemented")
    assert not served.backend.calls


async def test_a_client_that_is_gone_ends_its_call(served: Served) -> None:
    served.backend.hangs = True
    _, writer = await served.connection()
    writer.write(served.head("POST", UNARY))
    while not served.backend.calls:
        await asyncio.sleep(0.01)
    writer.transport.abort()
    await asyncio.wait_for(served.backend.cancelled.wait(), 30)


async def test_a_large_body_is_refused(served: Served) -> None:
    head, body = await served.http("POST", UNARY, bytes(MAX_BYTES + 1))
    assert (status(head), json.loads(body)["code"]) == (429, "resource_exhausted")
    assert "connection: close" in head


async def test_the_bodies_of_one_user_have_a_bound_together(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_memory, "MAX_BYTES_PER_SUBJECT", 9)
    connections = [await served.connection() for _ in range(2)]
    for _, writer in connections:
        writer.write(served.head("POST", UNARY, content_length="9") + b"12345")
    answers = {asyncio.create_task(reader.read()): writer for reader, writer in connections}
    done, waiting = await asyncio.wait(answers, timeout=30, return_when=asyncio.FIRST_COMPLETED)
    (refused,) = done
    assert refused.result().startswith(b"HTTP/1.1 429")
    assert b"requests of CN=alice: more than 9 bytes are in progress" in refused.result()
    (accepted,) = waiting
    answers[accepted].write(b"6789")
    assert (await asyncio.wait_for(accepted, 30)).endswith(b"123456789")
    head, _ = await served.http("POST", UNARY, bytes(9))
    assert status(head) == 200
    for writer in answers.values():
        writer.close()


async def test_a_slow_body_is_refused(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_body, "SECONDS", 0.05)
    head, body = await served.http("POST", UNARY, content_length="5")
    assert (status(head), json.loads(body)["code"]) == (504, "deadline_exceeded")


async def test_a_connection_without_a_request_is_closed(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "HEADER_SECONDS", 0.05)
    reader, writer = await served.connection()
    writer.write(b"GET / HTTP/1.1\r\n")
    assert await asyncio.wait_for(reader.read(), 30) == b""
    writer.close()


async def test_a_later_request_that_does_not_arrive_is_closed_too(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "HEADER_SECONDS", 0.5)
    reader, writer = await served.connection()
    writer.write(served.head("GET", "/session", connection="keep-alive"))
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"GET / HTTP/1.1\r\n")
    await asyncio.wait_for(reader.read(), 30)
    writer.close()


def test_the_service_can_have_a_descriptor_for_each_connection() -> None:
    unit = Path(__file__).parents[3] / "packaging/jobworkerd-dashboard.service"
    (limit,) = re.findall(r"^LimitNOFILE=(\d+)$", unit.read_text(), re.MULTILINE) or ["1024"]
    assert int(limit) > 2 * http_server._MAX_CONNECTIONS


async def test_connections_have_a_bound_that_the_page_of_the_documentation_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert f"| connections of all clients | {http_server._MAX_CONNECTIONS:,} |" in DOCUMENTATION.read_text()
    monkeypatch.setattr(http_server, "_MAX_CONNECTIONS", 3)
    async with serving() as served:
        idle = [await served.connection() for _ in range(2)]
        heads = []
        # The answer to each of them shows that the server has accepted it.
        for reader, writer in idle:
            writer.write(served.head("GET", "/session", connection="keep-alive"))
            heads.append((await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)).decode())
        heads.append((await served.http("GET", "/session"))[0])
        for _, writer in idle:
            writer.close()
    assert list(map(status, heads)) == [200, 200, 503]


async def test_large_headers_are_refused(served: Served) -> None:
    reader, writer = await served.connection()
    writer.write(b"GET / HTTP/1.1\r\nx-large: " + b"x" * 70_000)
    assert (await reader.read()).startswith(b"HTTP/1.1 400")
    writer.close()


async def test_a_login_sets_a_cookie_that_scripts_and_other_hosts_cannot_read(served: Served) -> None:
    head, body = await served.http("POST", "/session", json.dumps({"token": TOKEN}).encode())
    (cookie,) = (line for line in head.splitlines() if line.startswith("set-cookie"))
    for attribute in ("__host-jobworker-", "httponly", "secure", "samesite=strict", "path=/"):
        assert attribute in cookie
    assert json.loads(body)["subject"] == "CN=alice"


@pytest.mark.parametrize(
    ("origins", "name"),
    [
        (["https://jobs.example.org"], "__Host-jobworker"),
        (["https://jobs.example.org:8443"], "__Host-jobworker-8443"),
        (["http://127.0.0.1:1", "http://localhost:1"], "__Host-jobworker-1"),
    ],
)
def test_dashboards_on_one_host_have_different_cookies(origins: list[str], name: str) -> None:
    assert cookie_name(origins) == name


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"token": 1}',
        b'{"token": "wrong"}',
        b"\xff",
        b"[" * 10_000,
    ],
)
async def test_a_refused_login_sets_no_cookie(served: Served, body: bytes) -> None:
    head, _ = await served.http("POST", "/session", body)
    assert status(head) in {400, 401}
    assert "set-cookie" not in head


async def test_a_token_that_cannot_be_encoded_is_invalid(served: Served) -> None:
    head, body = await served.http("POST", "/session", rb'{"token": "\ud800"}')
    assert (status(head), json.loads(body)["code"]) == (400, "invalid_argument")


async def test_a_logout_ends_the_session(served: Served) -> None:
    assert status((await served.http("DELETE", "/session"))[0]) == 204
    assert status((await served.http("GET", "/session"))[0]) == 401


async def test_a_login_ends_the_earlier_session_of_the_browser(served: Served) -> None:
    await served.http("POST", "/session", json.dumps({"token": TOKEN}).encode())
    assert status((await served.http("GET", "/session"))[0]) == 401


async def test_a_session_that_the_server_rejects_ends(served: Served) -> None:
    served.backend.answer = lambda _: ConnectError("unauthenticated", "expired")
    assert status((await served.http("POST", UNARY))[0]) == 401
    assert status((await served.http("GET", "/session"))[0]) == 401


@pytest.mark.parametrize("path", ["/", "/login", "/create", "/jobs/0199f3a0", "/?status=running"])
async def test_the_page_handles_its_paths(served: Served, path: str) -> None:
    head, body = await served.http("GET", path)
    assert status(head) == 200
    assert "content-type: text/html" in head
    assert "cache-control: no-cache" in head
    assert b"<html" in body


async def test_files_with_a_hash_in_their_name_are_cached_for_ever(served: Served) -> None:
    _, page = await served.http("GET", "/")
    script = page.decode().partition('src="')[2].partition('"')[0]
    assert script.startswith("/assets/")
    head, _ = await served.http("GET", script, accept_encoding="gzip")
    assert "immutable" in head
    assert "content-type: text/javascript" in head
    tag = head.partition("etag: ")[2].partition("\r\n")[0]
    again, body = await served.http("GET", script, if_none_match=tag)
    assert (status(again), body) == (304, b"")


@pytest.mark.parametrize("path", ["/unknown", "/assets/../__init__.py", "/%2e%2e/__init__.py", "/jobs/a/b"])
async def test_an_unknown_file_is_not_found(served: Served, path: str) -> None:
    assert status((await served.http("GET", path))[0]) == 404


async def test_the_page_and_streams_over_tls() -> None:
    authority = trustme.CA()
    tls, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    authority.configure_trust(client)
    async with serving(tls) as served:
        async with served.websocket(ssl=client) as page:
            (await served.backend.streams.get()).responses.put_nowait(None)
            assert await page.recv() == "{}"
        reader, writer = await served.connection(ssl=client)
        writer.write(served.head("GET", "/"))
        assert (await reader.read()).startswith(b"HTTP/1.1 200")
        writer.close()


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("GET", "/", {}),
        ("GET", "/unknown", {}),
        ("GET", "/session", {"cookie": "none=1"}),
        ("POST", UNARY, {}),
        ("PUT", "/", {}),
        ("GET", "/", {"host": "evil.example"}),
        ("POST", UNARY, {"origin": "http://evil.example"}),
    ],
)
async def test_all_responses_have_the_security_headers(
    served: Served, method: str, path: str, headers: dict[str, str]
) -> None:
    head, _ = await served.http(method, path, b"", **headers)
    for name, value in HEADERS.items():
        assert f"{name}: {value}\r\n".lower() in f"{head}\r\n"
