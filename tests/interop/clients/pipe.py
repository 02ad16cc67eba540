"""A driver that is a program: an operation a line on its stdin, an answer a line on its stdout, in order."""

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from typing import Any

from tests.interop.driver import Connection, Operation, Refused, end
from tests.interop.places import ROOT


class PipeDriver:
    """Asks a running program. After a failure in between it is ended: its answers would be off by one."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process

    @classmethod
    @contextlib.contextmanager
    def started(cls, argv: Sequence[str], connection: Connection) -> Iterator["PipeDriver"]:
        """Runs the program for as long as the context lasts."""
        env = {**os.environ, **connection.environment()}
        pipe = subprocess.PIPE
        with subprocess.Popen(argv, stdin=pipe, stdout=pipe, env=env, cwd=ROOT) as process:
            try:
                yield cls(process)
            finally:
                assert process.stdin
                with contextlib.suppress(BrokenPipeError):
                    process.stdin.close()
                end(process)

    @property
    def alive(self) -> bool:
        """False once the program has ended."""
        return self._process.poll() is None

    def ask(self, operation: Operation) -> Any:
        """Returns the operation's result; see `Driver`."""
        try:
            answer = self._exchange(json.dumps(operation))
        except BaseException:
            self._process.kill()
            self._process.wait()
            raise
        if error := answer.get("error"):
            raise Refused(
                error["code"],
                error.get("reason", ""),
                error.get("message", ""),
                tuple(error.get("fields", ())),
                error.get("metadata", {}),
            )
        return answer["result"]

    def _exchange(self, line: str) -> dict[str, Any]:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(line.encode() + b"\n")
        self._process.stdin.flush()
        reply = self._process.stdout.readline()
        assert reply, f"{self._process.args!r} ended without an answer: see what it wrote to stderr"
        answer: dict[str, Any] = json.loads(reply)
        return answer
