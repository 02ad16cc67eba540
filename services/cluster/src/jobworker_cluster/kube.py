"""A small client of the Kubernetes API. It speaks JSON: the classes of the generated client need more than
ten times as long to decode a Pod.
"""

import asyncio
import contextlib
import email.utils
import json
from collections import Counter
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import aiohttp

from jobworker_cluster.access import Access, read_access
from jobworker_cluster.client_certificates import ClientCertificate
from jobworker_cluster.kube_errors import Refused, Unreachable, from_answer
from jobworker_cluster.kube_sessions import KubeSessions
from jobworker_cluster.resources import Resource, Selection

Json = dict[str, Any]

_PAGE = 500
_SMALLEST_PAGE = 50
_CALL_SECONDS = 5.0
_METADATA_ONLY = ";as=PartialObjectMetadata{};g=meta.k8s.io;v=v1"
_CONTENT = {
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
}


@dataclass(frozen=True)
class Page:
    """All objects of a selection at one resource version."""

    items: list[Json]
    resource_version: str


@dataclass(frozen=True)
class Delete:
    """Options of a deletion. With `uid` or `version`, only the object that has it is deleted."""

    uid: str = ""
    version: int = 0
    grace_seconds: int | None = None

    @property
    def body(self) -> Json:
        """The body of the request."""
        options: Json = {"apiVersion": "v1", "kind": "DeleteOptions"}
        if self.uid or self.version:
            preconditions = {"uid": self.uid, "resourceVersion": str(self.version or "")}
            options["preconditions"] = {name: value for name, value in preconditions.items() if value}
        if self.grace_seconds is not None:
            options["gracePeriodSeconds"] = self.grace_seconds
        return options


@dataclass(frozen=True)
class _Request:
    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: Json | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout: aiohttp.ClientTimeout = field(default_factory=lambda: aiohttp.ClientTimeout(total=_CALL_SECONDS))
    urgent: bool = False


class Kube:
    """Calls the apiserver. Each call can raise a KubeError; Unreachable is worth a retry."""

    def __init__(
        self, access: Access, refusal_delays: Sequence[float] = (), kubeconfig: Path | None = None
    ) -> None:
        """The first call connects. `access` is that of `kubeconfig`, see `refresh`.

        A call for which the identity lacks a right is repeated after each of `refusal_delays`, in seconds: an
        apiserver accepts calls before it has loaded the rights.
        """
        self.calls: Counter[tuple[str, int]] = Counter()
        """Calls by their method and the HTTP status of the answer, which is 0 without one."""
        self._refusal_delays = refusal_delays
        self._ahead = timedelta()
        self._pages: dict[Resource, int] = {}
        """The sizes of the pages of lists that took too long."""

        self._sessions = KubeSessions(access, kubeconfig)

    @classmethod
    async def connect(cls, kubeconfig: Path | None, refusal_delays: Sequence[float] = ()) -> Self:
        """Return a client for a kubeconfig file, or for the service account of the Pod that this process
        runs in. See the constructor.

        Raises:
            InvalidKubeconfig: the file or the service account cannot be used.
        """
        return cls(read_access(kubeconfig), refusal_delays, kubeconfig)

    @property
    def certificate(self) -> ClientCertificate | None:
        """The client certificate; None if the client has another credential."""
        return self._sessions.access.certificate

    async def close(self) -> None:
        """Close the connections."""
        await self._sessions.close()

    async def refresh(self) -> bool:
        """Use a kubeconfig that has changed for new calls, and return whether it or a file that it names has.

        Raises:
            InvalidKubeconfig: the new files cannot be used. It is raised once for each change.
        """
        return await self._sessions.refresh()

    def time(self) -> datetime:
        """Return the time of the apiserver, which the times of objects are of, as its last answer tells it.

        The answers have whole seconds (Date in RFC 9110).
        """
        return datetime.now(UTC) + self._ahead

    async def get(self, resource: Resource, name: str) -> Json:
        """Return an object.

        Raises:
            NotFound: it does not exist.
        """
        return await self._call(_Request("GET", resource.path(name), urgent=resource.urgent))

    async def create(self, resource: Resource, body: Json) -> Json:
        """Create an object and return it.

        Raises:
            Conflict: an object with this name exists.
        """
        return await self._call(_Request("POST", resource.path(), body=body, urgent=resource.urgent))

    async def patch(
        self, resource: Resource, name: str, body: Json, *, subresource: str = "", kind: str = "merge"
    ) -> Json:
        """Change an object and return it. `kind` is `merge` (RFC 7396) or `strategic`.

        A `uid` or a `resourceVersion` in the metadata of `body` is a precondition.

        Raises:
            NotFound: it does not exist.
            Conflict: a precondition does not hold.
        """
        path, headers = resource.path(name, subresource), {"Content-Type": _CONTENT[kind]}
        return await self._call(_Request("PATCH", path, body=body, headers=headers, urgent=resource.urgent))

    async def delete(self, resource: Resource, name: str, how: Delete) -> None:
        """Delete an object, or let it be deleted once it has no finalizers.

        Raises:
            NotFound: it does not exist.
            Conflict: an object with another uid has the name.
        """
        await self._call(_Request("DELETE", resource.path(name), body=how.body))

    async def list(self, selection: Selection, not_older_than: str = "") -> Page:
        """Return all objects of a selection, read in pages.

        If a page takes too long, the next call for the kind reads smaller ones: a Pod can have 256 KiB.

        Without a resource version, an apiserver whose etcd is older than 3.4.31 or 3.5.13 reads all objects
        of the kind from it. With one, it answers from its memory, as soon as that is not older.

        Raises:
            Gone: the pages took too long to read.
            TooNew: the apiserver has not seen the version.
        """
        items: list[Json] = []
        limit = self._pages.get(selection.resource, _PAGE)
        query = selection.query | {"limit": str(limit)}
        if not_older_than:
            query |= {"resourceVersion": not_older_than, "resourceVersionMatch": "NotOlderThan"}
        accept = "application/json" + (_METADATA_ONLY.format("List") if selection.metadata_only else "")
        while True:
            request = _Request("GET", selection.resource.path(), query, headers={"Accept": accept})
            try:
                found = await self._call(request)
            except Unreachable as error:
                if isinstance(error.__cause__, TimeoutError):
                    self._pages[selection.resource] = max(limit // 5, _SMALLEST_PAGE)
                raise
            items += found.get("items") or []
            following = found["metadata"].get("continue")
            if not following:
                self._pages.pop(selection.resource, None)
                return Page(items, found["metadata"]["resourceVersion"])
            query = selection.query | {"limit": str(limit), "continue": following}

    async def watch(
        self, selection: Selection, resource_version: str, seconds: int
    ) -> AsyncGenerator[tuple[str, Json], None]:
        """Yield the types and objects of changes after a resource version, for a time.

        The types are `ADDED`, `MODIFIED`, `DELETED`, and `BOOKMARK`, whose object only has a version. The
        first one is `OPENED`, without an object: the apiserver has accepted the request.

        Raises:
            Gone: the resource version is too old.
        """
        query = selection.query | {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(seconds),
        }
        accept = "application/json" + (_METADATA_ONLY.format("") if selection.metadata_only else "")
        # The server ends the watch in time. If its end does not arrive, the connection is broken.
        timeout = aiohttp.ClientTimeout(sock_connect=_CALL_SECONDS, sock_read=seconds + _CALL_SECONDS)
        request = _Request(
            "GET", selection.resource.path(), query, headers={"Accept": accept}, timeout=timeout
        )
        try:
            async with await self._send(request) as response:
                await _check(response)
                yield "OPENED", {}
                async for line in response.content:
                    yield _event(line)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise Unreachable(0, _cause(error)) from error

    async def _call(self, request: _Request) -> Json:
        for delay in self._refusal_delays:
            try:
                return await self._call_once(request)
            except Refused as error:
                if not error.lacks_right:
                    raise
            await asyncio.sleep(delay)
        return await self._call_once(request)

    async def _call_once(self, request: _Request) -> Json:
        try:
            async with await self._send(request) as response:
                await _check(response)
                found: Json = json.loads(await response.read())
                return found
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise Unreachable(0, _cause(error)) from error

    async def _send(self, request: _Request) -> aiohttp.ClientResponse:
        access = self._sessions.access
        headers = {"Accept": "application/json", **access.headers(), **request.headers}
        if request.body is not None:
            headers.setdefault("Content-Type", "application/json")
        session = self._sessions.urgent if request.urgent else self._sessions.current
        status = 0
        try:
            response = await session.request(
                request.method,
                access.server + request.path,
                params=request.query,
                data=None if request.body is None else json.dumps(request.body),
                headers=headers,
                timeout=request.timeout,
                server_hostname=access.server_name,
            )
            status = response.status
        finally:  # a caller also cancels a call that takes too long
            self.calls[request.method, status] += 1
        with contextlib.suppress(KeyError, ValueError):
            date = email.utils.parsedate_to_datetime(response.headers["Date"])
            self._ahead = date - datetime.now(UTC)
        return response


def _event(line: bytes) -> tuple[str, Json]:
    event = json.loads(line)
    if event["type"] == "ERROR":
        raise from_answer(int(event["object"].get("code", 0)), event["object"].get("message", ""))
    return event["type"], event["object"]


async def _check(response: aiohttp.ClientResponse) -> None:
    if response.status < 300:
        return
    text = await response.text()
    try:
        message = str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        message = text[:500] or str(response.reason)
    raise from_answer(response.status, message)


def _cause(error: BaseException) -> str:
    if isinstance(error, asyncio.TimeoutError):
        return f"the apiserver did not answer in {_CALL_SECONDS:g} s"
    return str(error) or type(error).__name__
