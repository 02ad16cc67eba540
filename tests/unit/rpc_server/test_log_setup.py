"""The log of a server for a terminal."""

import subprocess
import sys

import pytest

_SERVER = """
from jobworkerd.config import LoggingConfig
from jobworkerd.rpc_server import log_setup
stop = log_setup.configure(LoggingConfig(format="console"), "api").finish
"""
_AGENT = """
from jobworker_agent import log_setup
stop = log_setup.configure("info", "console").stop
"""


@pytest.mark.parametrize("setup", [_SERVER, _AGENT], ids=["server", "agent"])
@pytest.mark.parametrize("sequence", ["\x1b]0;title\x07", "\x1b[2J", "\x9b2J", "\r", "\n[info]"])
def test_a_client_cannot_write_escape_sequences_to_the_terminal(setup: str, sequence: str) -> None:
    """The id of a job in a request can be any text."""
    code = f"{setup}\nimport structlog\nstructlog.get_logger().info('rpc', job_id='a'+{sequence!r})\nstop()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    (line,) = done.stderr.decode().splitlines()
    assert "job_id" in line
    assert repr(sequence).strip("'") in line
    assert sequence not in line
