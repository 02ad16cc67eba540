"""grpcurl. It learns the API from the server's reflection."""

import json

from google.rpc import code_pb2

from tests.interop.clients.command_line import SERVICE, CommandLineDriver
from tests.interop.driver import CallError, Connection
from tests.interop.paths import BIN

_CONNECT_SECONDS = "3"
"""grpcurl retries a failed handshake until this timeout."""


class Grpcurl(CommandLineDriver):
    """Runs `grpcurl`."""

    FROM_STDIN = "@"

    def argv(self, connection: Connection, method: str, data: str, deadline: float | None) -> list[str]:
        """Return the command line of one RPC."""
        files = {"cacert": connection.ca, "cert": connection.cert, "key": connection.key}
        flags = [word for name, file in files.items() for word in (f"-{name}", str(file))]
        flags += ["-format-error", "-connect-timeout", _CONNECT_SECONDS, "-d", data]
        if deadline is not None:
            flags += ["-max-time", str(deadline)]
        return [str(BIN / "grpcurl"), *flags, connection.server, f"{SERVICE}/{method}"]

    def parse_error(self, exit_code: int, stderr: str) -> CallError:
        """Parse the status, which is JSON, or plain text if the connection failed."""
        if stderr.startswith("Failed to dial"):
            return CallError("UNAVAILABLE", message=stderr)
        assert stderr.startswith("{"), f"exit code {exit_code}: {stderr}"
        status = json.loads(stderr)
        reason, fields, metadata = "", [], {}
        for detail in status.get("details", []):
            match detail["@type"].rpartition(".")[2]:
                case "ErrorInfo":
                    reason, metadata = detail["reason"], detail.get("metadata", {})
                case "BadRequest":
                    fields = [violation["field"] for violation in detail["field_violations"]]
        return CallError(code_pb2.Code.Name(status["code"]), reason, status["message"], fields, metadata)
