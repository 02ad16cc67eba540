"""`intruder.py UID DIRECTORY…`: attempts every file operation in directories as a UID without groups.

Prints the permitted operations as a JSON list of [operation, path]. It opens the directories before it
drops its privileges, so the modes of their parent directories do not matter.
"""

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

Attempt = tuple[str, Callable[[], object]]


def main(uid: int, directories: list[str]) -> None:
    """Become the user and attempt all operations."""
    # Paths through a descriptor bypass the parent directories.
    trees = [
        (path, f"/proc/self/fd/{os.open(path, os.O_PATH | os.O_DIRECTORY)}", files)
        for directory in directories
        for path, _, files in os.walk(directory)
    ]
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    allowed = []
    for path, opened, files in trees:
        for name in files:
            allowed += [(what, f"{path}/{name}") for what in _allowed(_on_file(Path(opened, name)))]
        allowed += [(what, path) for what in _allowed(_on_directory(Path(opened)))]
    print(json.dumps(allowed))


def _allowed(attempts: Iterator[Attempt]) -> Iterator[str]:
    for what, attempt in attempts:
        try:
            attempt()
        except PermissionError:
            continue
        yield what


def _on_file(file: Path) -> Iterator[Attempt]:
    yield "read", file.read_bytes
    yield "write", lambda: os.open(file, os.O_WRONLY)
    yield "append", lambda: os.open(file, os.O_WRONLY | os.O_APPEND)
    yield "truncate", lambda: os.truncate(file, 0)
    yield "chmod", lambda: file.chmod(0o666)
    yield "chown", lambda: os.chown(file, os.getuid(), -1)
    yield "rename", lambda: file.rename(file.with_name("other"))
    yield "remove", file.unlink


def _on_directory(directory: Path) -> Iterator[Attempt]:
    yield "create", (directory / "new").touch
    yield "mkdir", (directory / "new").mkdir
    yield "symlink", lambda: (directory / "new").symlink_to("/")
    yield "chmod", lambda: directory.chmod(0o777)
    yield "chown", lambda: os.chown(directory, os.getuid(), -1)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
