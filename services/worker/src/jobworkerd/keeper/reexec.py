"""Replaces the program of the keeper by another version; its children and its descriptors remain.

execve(2) keeps the process. The state of the keeper is a JSON object in a file in memory, whose descriptor is
the argument of the new program.
"""

import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

MODULE = "jobworkerd.keeper"


def signature() -> str:
    """Return a value that changes when a file of the program changes."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    stats = [(each.name, each.stat()) for each in files]
    return ",".join(f"{name}:{stat.st_mtime_ns}:{stat.st_size}" for name, stat in stats)


def execute(state: dict[str, Any], descriptors: Iterable[int]) -> None:
    """Replace this process by a keeper that continues from a state. The descriptors remain open.

    Raises:
        OSError: the interpreter cannot be executed, or the host is out of memory. Nothing has changed.
    """
    inherited = list(descriptors)
    file = os.memfd_create("jobworkerd-keeper")
    try:
        with os.fdopen(os.dup(file), "wb") as writer:
            writer.write(json.dumps(state).encode())
        inherited.append(file)
        for each in inherited:
            os.set_inheritable(each, True)  # noqa: FBT003 - it takes no keyword
        os.execv(sys.executable, [sys.executable, "-P", "-m", MODULE, str(file)])  # noqa: S606
    except OSError:
        for each in inherited:
            os.set_inheritable(each, False)  # noqa: FBT003
        raise
    finally:
        os.close(file)


def read_state(file: int) -> dict[str, Any]:
    """Return the state in a file, and close the file."""
    with os.fdopen(file, "rb") as reader:
        reader.seek(0)
        state: dict[str, Any] = json.load(reader)
    return state
