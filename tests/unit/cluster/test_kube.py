"""Calls to an apiserver."""

import asyncio
import ssl
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from fake_apiserver import apiserver
from jobworker_cluster import kube
from jobworker_cluster.access import Access
from jobworker_cluster.kube import Kube
from jobworker_cluster.kube_errors import NotFound, Unreachable
from jobworker_cluster.resources import NODES, Selection, pods

_OBJECTS = 130
_LARGEST_PAGE = 50


@pytest.fixture
async def slow_server() -> AsyncIterator[TestServer]:
    """An apiserver that cannot send large pages in time."""

    async def answer(request: web.Request) -> web.Response:
        begin, limit = int(request.query.get("continue", "0")), int(request.query["limit"])
        if limit > _LARGEST_PAGE:
            await asyncio.Event().wait()
        end = min(begin + limit, _OBJECTS)
        following = str(end) if end < _OBJECTS else ""
        items = [{"number": each} for each in range(begin, end)]
        metadata = {"resourceVersion": "1", "continue": following}
        return web.json_response({"metadata": metadata, "items": items})

    app = web.Application()
    app.router.add_get("/api/v1/pods", answer)
    server = TestServer(app)
    await server.start_server()
    yield server
    await server.close()


async def test_a_list_that_takes_too_long_is_read_in_smaller_pages(
    slow_server: TestServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kube, "_CALL_SECONDS", 0.2)
    client = Kube(Access(str(slow_server.make_url("")).rstrip("/"), ssl.create_default_context()))
    try:
        for _ in range(2):
            with pytest.raises(Unreachable):
                await client.list(Selection(pods()))
        monkeypatch.undo()
        found = (await client.list(Selection(pods()))).items
        assert [each["number"] for each in found] == list(range(_OBJECTS))
    finally:
        await client.close()


async def test_calls_are_counted_by_their_results(slow_server: TestServer) -> None:
    async with apiserver() as (server, client):
        await server.put(NODES.path("a"), {"metadata": {"name": "a"}})
        await client.get(NODES, "a")
        await client.patch(NODES, "a", {"metadata": {"labels": {"b": "c"}}})
        with pytest.raises(NotFound):
            await client.get(NODES, "b")
        assert client.calls == {("GET", 200): 1, ("PATCH", 200): 1, ("GET", 404): 1}
    client = Kube(Access(str(slow_server.make_url("")).rstrip("/"), ssl.create_default_context()))
    try:
        call = asyncio.ensure_future(client.list(Selection(pods())))
        await asyncio.sleep(0)
        call.cancel()  # as the lease does with a call that takes too long
        await asyncio.gather(call, return_exceptions=True)
        await slow_server.close()
        with pytest.raises(Unreachable):
            await client.get(NODES, "a")
        assert client.calls == {("GET", 0): 2}
    finally:
        await client.close()
