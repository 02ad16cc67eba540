"""An apiserver for the tests of its clients: real HTTP, and the rules that clients rely on."""

import asyncio
import contextlib
import email.utils
import json
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

from aiohttp import web

from jobworker_cluster.access import Access
from jobworker_cluster.kube import Json, Kube

_STRATEGIC = "application/strategic-merge-patch+json"


@dataclass
class FakeApiserver:
    """Objects by their paths, with one sequence of versions.

    `always` is the status of all answers, unless it is 0. `refusals` are the status and the message of the
    next answers to a method and a path, such as `POST /api/v1/pods`. The last one is used again. Status 0
    accepts the request. `history` are the changes that watches can replay; `forget` makes older versions too
    old. `requests` are the methods and paths of all requests, `lists` the versions that those for lists
    of all names had, and `patches` the bodies of the patches. `ahead` is how many seconds the clock is ahead
    of that of the clients. `before_get` has what happens just before an object is read. `silence` cuts the
    network: the connections until then stay open, but requests on them get no answer. With `ends_watches`,
    each watch ends at once.
    """

    objects: dict[str, Json] = field(default_factory=dict)
    version: int = 1
    oldest: int = 0
    history: list[tuple[int, str, Json]] = field(default_factory=list)
    always: int = 0
    refusals: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    lists: list[str] = field(default_factory=list)
    patches: list[Json] = field(default_factory=list)
    ahead: float = 0.0
    ends_watches: bool = False
    before_get: dict[str, Callable[[], Awaitable[object]]] = field(default_factory=dict)
    bookmarks: int = 0
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    _watches: set[web.StreamResponse] = field(default_factory=set)
    _connections: set[asyncio.BaseTransport | None] = field(default_factory=set)
    _silent: set[asyncio.BaseTransport | None] = field(default_factory=set)
    url: str = ""

    def forget(self) -> None:
        """Make all versions before the current one too old for watches."""
        self.oldest = self.version
        self.history.clear()

    async def put(self, path: str, item: Json) -> Json:
        """Create or replace an object without a request."""
        known = self.objects.get(path)
        return await self._store(path, json.loads(json.dumps(item)), "MODIFIED" if known else "ADDED")

    async def remove(self, path: str) -> None:
        """Delete an object without a request."""
        await self._delete(path)

    async def bookmark(self) -> None:
        """Advance the version without a change of an object, and tell all watches."""
        self.version += 1
        self.bookmarks = self.version
        async with self._changed:
            self._changed.notify_all()

    def silence(self) -> None:
        """Answer no request on the connections that exist, as after the loss of a load balancer."""
        self._silent |= self._connections

    def cut(self) -> None:
        """Break the connections of all watches, in the middle of a line."""
        for response in self._watches:
            if response._req and response._req.transport:
                response._req.transport.abort()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer a request."""
        self._connections.add(request.transport)
        if request.transport in self._silent:
            await asyncio.Event().wait()
        self.requests.append(f"{request.method} {request.path}")
        if refusal := self._refuse(request):
            return refusal
        if request.query.get("watch"):
            return await self._watch(request)
        match request.method:
            case "GET":
                if first := self.before_get.get(request.path):
                    await first()
                return self._get(request)
            case "POST":
                return await self._create(request)
            case "PATCH":
                return await self._patch(request)
        return await self._remove(request)

    def _refuse(self, request: web.Request) -> web.Response | None:
        if self.always:
            return _status(self.always, "a fault")
        refusals = self.refusals.get(f"{request.method} {request.path}", [(0, "")])
        status, message = refusals.pop(0) if len(refusals) > 1 else refusals[0]
        return _status(status, message) if status else None

    async def set_date(self, _request: web.Request, response: web.StreamResponse) -> None:
        """Set the header Date."""
        response.headers["Date"] = email.utils.formatdate(time.time() + self.ahead, usegmt=True)

    def _get(self, request: web.Request) -> web.Response:
        if request.path in self.objects:
            return web.json_response(self.objects[request.path])
        if request.path.rsplit("/", 1)[-1] not in {"pods", "secrets", "nodes", "leases", "priorityclasses"}:
            return _status(404, f"{request.path} not found")
        wanted = request.query.get("resourceVersion", "")
        if "continue" not in request.query and "metadata.name" not in request.query.get("fieldSelector", ""):
            self.lists.append(wanted)
        if wanted and int(wanted) > self.version:
            return _status(504, f"Timeout: Too large resource version: {wanted}, current: {self.version}")
        found = [item for path, item in sorted(self.objects.items()) if _selects(request, path, item)]
        start, size = int(request.query.get("continue", 0)), int(request.query.get("limit", 0)) or len(found)
        metadata: Json = {"resourceVersion": str(self.version)}
        if start + size < len(found):
            metadata["continue"] = str(start + size)
        return web.json_response({"metadata": metadata, "items": found[start : start + size]})

    async def _create(self, request: web.Request) -> web.Response:
        item = await request.json()
        path = f"{request.path}/{item['metadata']['name']}"
        if path in self.objects:
            return _status(409, f"{path} already exists")
        number = self.version + 1
        item["metadata"] |= {
            "uid": f"uid-{number}",
            "namespace": request.path.split("/")[4] if "namespaces" in request.path else "",
            "creationTimestamp": "2100-01-01T00:00:00Z",
        }
        item.setdefault("status", {"phase": "Pending"})
        return web.json_response(await self._store(path, item, "ADDED"), status=201)

    async def _patch(self, request: web.Request) -> web.Response:
        path = request.path.removesuffix("/status")
        if path not in self.objects:
            return _status(404, f"{path} not found")
        body = await request.json()
        self.patches.append(json.loads(json.dumps(body)))
        item = json.loads(json.dumps(self.objects[path]))
        wanted, found = body.get("metadata", {}), item["metadata"]
        if wanted.get("resourceVersion", found["resourceVersion"]) != found["resourceVersion"]:
            return _status(409, "the object has been modified; apply your changes to the latest version")
        if wanted.get("uid", found.get("uid")) != found.get("uid"):
            return _status(422, f'"{path}" is invalid: metadata.uid: Invalid value: "x": field is immutable')
        if request.headers["Content-Type"] == _STRATEGIC:
            removed = body["metadata"].pop("$deleteFromPrimitiveList/finalizers", [])
            kept = [each for each in item["metadata"].get("finalizers", []) if each not in removed]
            item["metadata"]["finalizers"] = kept
        _merge(item, body)
        if item == self.objects[path]:
            return web.json_response(item)
        if "deletionTimestamp" in item["metadata"] and self._is_over(item):
            await self._delete(path)
        else:
            await self._store(path, item, "MODIFIED")
        return web.json_response(item)

    async def _remove(self, request: web.Request) -> web.Response:
        path = request.path
        if path not in self.objects:
            return _status(404, f"{path} not found")
        options = await request.json()
        item = json.loads(json.dumps(self.objects[path]))
        for name, value in options.get("preconditions", {}).items():
            if item["metadata"][name] != value:
                return _status(409, f"{name} differs")
        bound = "nodeName" in item.get("spec", {})
        graceful = bound and options.get("gracePeriodSeconds") != 0
        item["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        item["metadata"]["deletionGracePeriodSeconds"] = 30 if graceful else 0
        if self._is_over(item):
            await self._delete(path)
        else:
            await self._store(path, item, "MODIFIED")
        return web.json_response(item)

    def _is_over(self, item: Json) -> bool:
        metadata = item["metadata"]
        return not metadata.get("finalizers") and not metadata.get("deletionGracePeriodSeconds")

    async def _store(self, path: str, item: Json, kind: str) -> Json:
        self.version += 1
        item["metadata"]["resourceVersion"] = str(self.version)
        self.objects[path] = item
        await self._tell(kind, path, item)
        return item

    async def _delete(self, path: str) -> None:
        self.version += 1
        item = self.objects.pop(path)
        item["metadata"]["resourceVersion"] = str(self.version)
        await self._tell("DELETED", path, item)

    async def _tell(self, kind: str, path: str, item: Json) -> None:
        self.history.append((self.version, kind, {"path": path, "object": json.loads(json.dumps(item))}))
        async with self._changed:
            self._changed.notify_all()

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        sent = int(request.query["resourceVersion"])
        response = web.StreamResponse()
        await response.prepare(request)
        if sent < self.oldest:
            await response.write(_line("ERROR", {"code": 410, "message": "too old"}))
            return response
        if self.ends_watches:
            return response
        self._watches.add(response)
        try:
            async with asyncio.timeout(int(request.query["timeoutSeconds"])):
                while True:
                    sent = await self._send(request, response, sent)
                    async with self._changed:
                        if sent >= self.version:
                            await self._changed.wait()
        except (TimeoutError, ConnectionError):
            pass
        finally:
            self._watches.discard(response)
        return response

    async def _send(self, request: web.Request, response: web.StreamResponse, sent: int) -> int:
        version = self.version
        for number, kind, change in list(self.history):
            if number > sent and _selects(request, change["path"], change["object"]):
                await response.write(_line(kind, change["object"]))
        if self.bookmarks > sent:
            metadata = {"metadata": {"resourceVersion": str(version)}}
            await response.write(_line("BOOKMARK", metadata))
        return version


@contextlib.asynccontextmanager
async def apiserver() -> AsyncIterator[tuple[FakeApiserver, Kube]]:
    """Serve objects on a free port, and connect a client to it."""
    fake = FakeApiserver()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", fake.handle)
    application.on_response_prepare.append(fake.set_date)
    runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    fake.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    kube = Kube(Access(fake.url, ssl.create_default_context()))
    try:
        yield fake, kube
    finally:
        await kube.close()
        await runner.cleanup()


def _selects(request: web.Request, path: str, item: Json) -> bool:
    if path.rsplit("/", 1)[0] != request.path:
        return False
    labels = item["metadata"].get("labels") or {}
    wanted = filter(None, request.query.get("labelSelector", "").split(","))
    return all(labels.get(pair.split("=")[0]) == pair.split("=")[1] for pair in wanted)


def _merge(item: Json, patch: Json) -> None:
    """Apply a merge patch (RFC 7396)."""
    for name, value in patch.items():
        if value is None:
            item.pop(name, None)
        elif isinstance(value, dict) and isinstance(item.get(name), dict):
            _merge(item[name], value)
        else:
            item[name] = value


def _status(code: int, message: str) -> web.Response:
    return web.json_response({"kind": "Status", "code": code, "message": message}, status=code)


def _line(kind: str, item: Json) -> bytes:
    return json.dumps({"type": kind, "object": item}).encode() + b"\n"
