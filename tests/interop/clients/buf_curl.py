"""`buf curl`, over the gRPC protocol: it knows the API by the server's reflection, too."""

import base64
import json
import os
from collections.abc import Mapping
from pathlib import Path

from google.rpc import error_details_pb2

from tests.interop.clients.command_line import SERVICE, CommandLineDriver
from tests.interop.driver import Connection, Refused
from tests.interop.places import BIN


class BufCurl(CommandLineDriver):
    """Runs `buf curl`, with its cache in a folder of ours."""

    def __init__(self, connection: Connection, home: Path) -> None:
        super().__init__(connection)
        self._home = home

    def environment(self) -> Mapping[str, str]:
        """Returns ours with the folder as buf's."""
        return {**os.environ, "HOME": str(self._home), "BUF_CACHE_DIR": str(self._home)}

    def argv(self, connection: Connection, method: str, data: str, deadline: float | None) -> list[str]:
        """Returns the command line of one RPC."""
        files = {"cacert": connection.ca, "cert": connection.cert, "key": connection.key}
        flags = [word for name, file in files.items() for word in (f"--{name}", str(file))]
        flags += ["--protocol", "grpc", "--data", data]
        flags += ["--timeout", "0" if deadline is None else f"{deadline}s"]
        return [str(BIN / "buf"), "curl", *flags, f"https://{connection.server}/{SERVICE}/{method}"]

    def refusal(self, exit_code: int, stderr: str) -> Refused:
        """Reads the error, in Connect's JSON; where reflection fails already, it is a line of text."""
        if "failed to find service named" in stderr:
            return Refused("UNAVAILABLE", message=stderr)
        assert stderr.startswith("{"), f"exit code {exit_code}: {stderr}"
        error = json.loads(stderr)
        info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
        for detail in error.get("details", []):
            # Base64 without its padding.
            value = base64.b64decode(detail["value"] + "==")
            match detail["type"]:
                case "google.rpc.ErrorInfo":
                    info.ParseFromString(value)
                case "google.rpc.BadRequest":
                    bad.ParseFromString(value)
        fields = [violation.field for violation in bad.field_violations]
        code = "CANCELLED" if error["code"] == "canceled" else error["code"].upper()
        return Refused(code, info.reason, error.get("message", ""), fields, dict(info.metadata))
