"""Spans of `jobworker run`, and the traces of all commands."""

import socket

import grpc
from otlp_receiver import OtlpReceiver

from tests.unit.cli.conftest import Cli, FakeServer, Refusal, finished

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
WITHOUT_EXPORTER = """
import sys
sys.modules["opentelemetry.sdk.trace"] = None
from jobworker_cli.main import main
main()
"""


async def test_a_command_in_a_job_continues_the_trace(cli: Cli, server: FakeServer) -> None:
    cli.env |= {"TRACEPARENT": PARENT, "TRACESTATE": "vendor=1"}
    result = await finished(await cli.start("list"))
    assert result.code == 0
    assert server.traces == [("ListJobs", PARENT, "vendor=1")]


async def test_a_run_is_a_span_below_that_of_its_own_job(cli: Cli, server: FakeServer) -> None:
    with OtlpReceiver.started() as receiver:
        cli.env |= {**receiver.variables, "TRACEPARENT": PARENT}
        result = await finished(await cli.start("run", "true"))
        assert (result.code, result.stderr) == (0, "")
        spans = {each.name.rpartition("/")[2]: each for each in receiver.spans(PARENT.split("-")[1])}
    assert sorted(spans) == ["CreateJob", "GetJobsStream", "jobworker run"]
    root = spans["jobworker run"]
    assert (root.parent_id, root.resource["service.name"]) == (PARENT.split("-")[2], "jobworker")
    assert {spans[name].parent_id for name in ("CreateJob", "GetJobsStream")} == {root.span_id}
    method, parent, _ = server.traces[0]
    assert (method, parent.split("-")[2]) == ("CreateJob", spans["CreateJob"].span_id)


async def test_the_name_of_the_service_can_be_set(cli: Cli, server: FakeServer) -> None:
    server.refusals["CreateJob"] = [Refusal(grpc.StatusCode.PERMISSION_DENIED, "no")]
    with OtlpReceiver.started() as receiver:
        cli.env |= {**receiver.variables, "OTEL_SERVICE_NAME": "nightly"}
        result = await finished(await cli.start("run", "true"))
        assert result.code == 125
        (root,) = [each for each in receiver.spans() if each.name == "jobworker run"]
    assert root.resource["service.name"] == "nightly"
    assert root.span.status.code == root.span.status.STATUS_CODE_ERROR


async def test_a_collector_that_does_not_answer_changes_no_result(cli: Cli) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        cli.env |= {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}
        result = await finished(await cli.start("run", "true"))
    assert (result.code, result.stderr) == (0, "jobworker: no collector accepted the spans within 2 s\n")


async def test_missing_packages_and_other_protocols_are_reported(cli: Cli) -> None:
    cli.env["OTEL_TRACES_EXPORTER"] = "console, otlp"
    result = await finished(await cli.start("run", "true", program=("-c", WITHOUT_EXPORTER)))
    message = "jobworker: spans are not exported; run: pip install 'jobworker-cli[telemetry]'\n"
    assert (result.code, result.stderr) == (0, message)
    cli.env["OTEL_EXPORTER_OTLP_PROTOCOL"] = "http/protobuf"
    result = await finished(await cli.start("run", "true"))
    assert result.code == 0
    assert "the OTLP protocol 'http/protobuf' is unknown; use grpc" in result.stderr
    cli.env["OTEL_SDK_DISABLED"] = "true"
    result = await finished(await cli.start("run", "true"))
    assert (result.code, result.stderr) == (0, "")


async def test_a_faulty_variable_changes_no_result(cli: Cli) -> None:
    cli.env |= {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_TIMEOUT": "soon"}
    result = await finished(await cli.start("run", "true"))
    assert result.code == 0
    assert result.stderr.startswith("jobworker: spans are not exported: check the OTEL_… variables: ")
