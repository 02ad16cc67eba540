"""A driver process: one operation per line on stdin, one response per line on stdout, in order."""

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from typing import Any

from tests.interop.driver import CallError, Connection, Operation, wait_or_kill
from tests.interop.paths import ROOT


class PipeDriver:
    """Sends operations to a process.

    An interrupted operation kills the process, because its response would answer the next operation.
    """

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process

    @classmethod
    @contextlib.contextmanager
    def started(cls, argv: Sequence[str], connection: Connection) -> Iterator["PipeDriver"]:
        """Run the process while the context is open."""
        env = {**os.environ, **connection.environment()}
        pipe = subprocess.PIPE
        with subprocess.Popen(argv, stdin=pipe, stdout=pipe, env=env, cwd=ROOT) as process:
            try:
                yield cls(process)
            finally:
                assert process.stdin
                with contextlib.suppress(BrokenPipeError):
                    process.stdin.close()
                wait_or_kill(process)

    @property
    def alive(self) -> bool:
        """False if the process has ended."""
        return self._process.poll() is None

    def run(self, operation: Operation) -> Any:
        """Run an operation; see `Driver`."""
        try:
            response = self._exchange(json.dumps(operation))
        except BaseException:
            self._process.kill()
            self._process.wait()
            raise
        if error := response.get("error"):
            raise CallError(
                error["code"],
                error.get("reason", ""),
                error.get("message", ""),
                tuple(error.get("fields", ())),
                error.get("metadata", {}),
            )
        return response["result"]

    def _exchange(self, request: str) -> dict[str, Any]:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(request.encode() + b"\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, f"{self._process.args!r} ended without a response; see its stderr"
        response: dict[str, Any] = json.loads(line)
        return response
