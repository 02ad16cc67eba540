"""Parse `PATH[:DEST]`."""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

__all__ = ["Download", "Upload", "parse_download", "parse_upload"]

# The last components of paths that name a directory without its name.
UNNAMED = ("", ".", "..")


@dataclass(frozen=True)
class Upload:
    """A local file or directory, and its place in the job.

    With an empty name, the content of the directory goes into `directory`.
    """

    source: Path
    directory: str
    name: str


@dataclass(frozen=True)
class Download:
    """A file or directory of the job, and its local place."""

    path: str
    destination: Path


def parse_upload(text: str) -> Upload:
    """Parse the value of `--upload`.

    Raises:
        ValueError: PATH is empty.
    """
    path, dest = _split(text)
    name = _last(path.rstrip("/"))
    if not dest:
        return Upload(Path(path), ".", name)
    if _last(dest):
        return Upload(Path(path), str(PurePosixPath(dest).parent), _last(dest))
    return Upload(Path(path), dest, name)


def parse_download(text: str) -> Download:
    """Parse the value of `--download`.

    Raises:
        ValueError: PATH is empty, or neither PATH nor DEST has a name.
    """
    path, dest = _split(text)
    name = _last(dest) or _last(path.rstrip("/"))
    if not name:
        raise ValueError(f"{text!r} has no name for the local copy; use PATH:DEST")
    if _last(dest):
        return Download(path, Path(dest))
    return Download(path, Path(dest) / name)


def _split(text: str) -> tuple[str, str]:
    """Split at the last colon, so that `a:b:` is the path `a:b` without DEST."""
    path, colon, dest = text.rpartition(":")
    path, dest = (path, dest) if colon else (text, "")
    if not path:
        raise ValueError(f"{text!r} has no PATH; use PATH or PATH:DEST")
    return path, dest


def _last(path: str) -> str:
    """Return the name of a file or directory; empty for paths such as `dir/`, `.` and `..` as DEST."""
    name = path.rpartition("/")[2]
    return "" if name in UNNAMED else name
