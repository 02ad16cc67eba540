"""`jobworker run` as a program that exports its spans, and a command of a job that continues the trace."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from otlp_receiver import OtlpReceiver

from live import Server

_JOBWORKER = Path(sys.executable).with_name("jobworker")

SPAN_OF_THE_COMMAND = "work of the command"
_COMMAND = f"""
import json, os, secrets, sys, time, urllib.request
assert not [name for name in os.environ if name.startswith("OTEL_")]
_, trace_id, parent_id, _ = os.environ["TRACEPARENT"].split("-")
now = time.time_ns()
span = {{"traceId": trace_id, "spanId": secrets.token_hex(8), "parentSpanId": parent_id}}
span |= {{"name": "{SPAN_OF_THE_COMMAND}", "startTimeUnixNano": str(now), "endTimeUnixNano": str(now)}}
service = {{"key": "service.name", "value": {{"stringValue": "command"}}}}
spans = {{"resource": {{"attributes": [service]}}, "scopeSpans": [{{"spans": [span]}}]}}
body = json.dumps({{"resourceSpans": [spans]}}).encode()
urllib.request.urlopen(urllib.request.Request(sys.argv[1] + "/v1/traces", body)).read()
"""
"""A program that continues the trace, as programs in jobs do."""


def traced_command(receiver: OtlpReceiver) -> tuple[str, ...]:
    """Return the command of a job that sends a span to a receiver."""
    return ("python3", "-c", _COMMAND, f"http://{receiver.host}:{receiver.http_port}")


def run(server: Server, receiver: OtlpReceiver, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run `jobworker run` as a program that exports its spans."""
    settings = {"JOBWORKER_SERVER": server.address, "JOBWORKER_CERTS": str(server.certs)}
    env: Mapping[str, str] = {**os.environ, **receiver.variables, **settings}
    argv = [str(_JOBWORKER), "run", *arguments]
    return subprocess.run(argv, env=env, capture_output=True, text=True, check=False, timeout=120)
