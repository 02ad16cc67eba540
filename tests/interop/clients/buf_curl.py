"""`buf curl` with the gRPC protocol. It learns the API from the server's reflection."""

import base64
import json
import os
from collections.abc import Mapping
from pathlib import Path

from google.rpc import error_details_pb2

from tests.interop.clients.command_line import SERVICE, CommandLineDriver
from tests.interop.driver import CallError, Connection
from tests.interop.paths import BIN


class BufCurl(CommandLineDriver):
    """Runs `buf curl` with its cache in a directory of the tests."""

    FROM_STDIN = "@-"

    def __init__(self, connection: Connection, home: Path) -> None:
        super().__init__(connection)
        self._home = home

    def environment(self) -> Mapping[str, str]:
        """Return the tests' environment with another home directory."""
        return {**os.environ, "HOME": str(self._home), "BUF_CACHE_DIR": str(self._home)}

    def argv(self, connection: Connection, method: str, data: str, deadline: float | None) -> list[str]:
        """Return the command line of one RPC."""
        files = {"cacert": connection.ca, "cert": connection.cert, "key": connection.key}
        flags = [word for name, file in files.items() for word in (f"--{name}", str(file))]
        flags += ["--protocol", "grpc", "--data", data]
        flags += ["--timeout", "0" if deadline is None else f"{deadline}s"]
        return [str(BIN / "buf"), "curl", *flags, f"https://{connection.server}/{SERVICE}/{method}"]

    def parse_error(self, exit_code: int, stderr: str) -> CallError:
        """Parse the error, which is Connect's JSON, or plain text if reflection fails."""
        if "failed to find service named" in stderr:
            return CallError("UNAVAILABLE", message=stderr)
        if "context deadline exceeded" in stderr and not stderr.startswith("{"):
            return CallError("DEADLINE_EXCEEDED", message=stderr)
        assert stderr.startswith("{"), f"exit code {exit_code}: {stderr}"
        error = json.loads(stderr)
        info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
        for detail in error.get("details", []):
            # Base64 without padding.
            value = base64.b64decode(detail["value"] + "==")
            match detail["type"]:
                case "google.rpc.ErrorInfo":
                    info.ParseFromString(value)
                case "google.rpc.BadRequest":
                    bad.ParseFromString(value)
        fields = [violation.field for violation in bad.field_violations]
        code = "CANCELLED" if error["code"] == "canceled" else error["code"].upper()
        return CallError(code, info.reason, error.get("message", ""), fields, dict(info.metadata))
