"""The files of the page. They are few, so they are kept in memory."""

import gzip
import hashlib
import mimetypes
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

INDEX = "index.html"

_HASHED = "assets/"
"""Directory of the files with a hash of their content in their name. They never change."""

_MIN_GZIP_BYTES = 1_024

_TYPES = {".js": "text/javascript", ".html": "text/html", ".svg": "image/svg+xml", ".css": "text/css"}
"""Types that do not depend on the files of the host."""


@dataclass(frozen=True)
class StaticFile:
    """A file with its compressed content, if that is smaller."""

    content: bytes
    compressed: bytes
    media_type: str
    etag: str
    cache_control: str

    def response(self, request: Request) -> Response:
        """Return the file, or that the browser has it already."""
        headers = {"ETag": self.etag, "Cache-Control": self.cache_control, "Vary": "Accept-Encoding"}
        if request.headers.get("if-none-match") == self.etag:
            return Response(status_code=304, headers=headers)
        content = self.content
        if self.compressed and "gzip" in request.headers.get("accept-encoding", ""):
            headers["Content-Encoding"] = "gzip"
            content = self.compressed
        return Response(content, headers=headers, media_type=self.media_type)


class StaticFiles:
    """Serves the files of the package, and the page for all paths that the page handles itself."""

    def __init__(self) -> None:
        root = files("jobworker_dashboard") / "static"
        self._files = {name: _file(name, entry.read_bytes()) for name, entry in _walk(root, "")}

    def page(self, request: Request) -> Response:
        """Return the page."""
        return self._files[INDEX].response(request)

    def file(self, request: Request) -> Response:
        """Return a file."""
        found = self._files.get(request.path_params["path"])
        if found is None:
            return PlainTextResponse("not found\n", 404)
        return found.response(request)


def _walk(directory: Traversable, prefix: str) -> "list[tuple[str, Traversable]]":
    found: list[tuple[str, Traversable]] = []
    for entry in directory.iterdir():
        name = prefix + entry.name
        found += _walk(entry, f"{name}/") if entry.is_dir() else [(name, entry)]
    return found


def _file(name: str, content: bytes) -> StaticFile:
    compressed = gzip.compress(content, mtime=0) if len(content) >= _MIN_GZIP_BYTES else b""
    suffix = name[name.rfind(".") :]
    return StaticFile(
        content,
        compressed if len(compressed) < len(content) else b"",
        _TYPES.get(suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream",
        f'"{hashlib.sha256(content).hexdigest()[:32]}"',
        "public, max-age=31536000, immutable" if name.startswith(_HASHED) else "no-cache",
    )
