"""The span of a subcommand, exported over OTLP if the variables of OpenTelemetry ask for it."""

import asyncio
import logging
import os
import threading
from collections.abc import Coroutine, Mapping
from typing import TYPE_CHECKING

from jobworker_cli.output import print_message

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

__all__ = ["traced"]

_FLUSH_SECONDS = 2.0
"""Maximum wait for a collector at the end of the command."""


async def traced(name: str, running: "Coroutine[None, None, int]") -> int:
    """Return the exit code of a coroutine, which runs in a span if spans are exported."""
    if (provider := _usable_provider(os.environ)) is None:
        return await running
    try:
        return await _in_span(provider, name, running)
    finally:
        await asyncio.to_thread(_shut_down, provider)


async def _in_span(provider: "TracerProvider", name: str, running: "Coroutine[None, None, int]") -> int:
    from opentelemetry.trace import Status, StatusCode

    from jobworker_client.aio import stream_span
    from jobworker_client.telemetry import parent_context

    tracer = provider.get_tracer("jobworker_cli")
    with tracer.start_as_current_span(name, parent_context(), record_exception=False) as span:
        code = await running
        span.set_attribute("process.exit.code", code)
        if code:
            span.set_attribute("error.type", str(code))
            span.set_status(Status(StatusCode.ERROR))
    await stream_span.ended()
    return code


def _usable_provider(environment: Mapping[str, str]) -> "TracerProvider | None":
    """Return a provider, or report that the variables have a faulty value."""
    try:
        return _provider(environment)
    except Exception as error:  # noqa: BLE001 - the SDK raises what its conversions raise
        print_message(f"jobworker: spans are not exported: check the OTEL_… variables: {error}")
        return None


def _provider(environment: Mapping[str, str]) -> "TracerProvider | None":
    """Return a provider that exports over OTLP; None if the variables do not ask for it."""
    exporters = {name.strip() for name in environment.get("OTEL_TRACES_EXPORTER", "").split(",")}
    if "otlp" not in exporters or environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    try:
        from opentelemetry import trace
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        print_message("jobworker: spans are not exported; run: pip install 'jobworker-cli[telemetry]'")
        return None
    if (protocol := _protocol(environment)) not in {"", "grpc"}:
        print_message(
            f"jobworker: spans are not exported: the OTLP protocol {protocol!r} is unknown; use grpc"
        )
        return None
    # The SDK reports an unreachable collector for each attempt.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    given = Resource.create()
    unnamed = str(given.attributes["service.name"]).startswith("unknown_service")
    resource = given.merge(Resource({"service.name": "jobworker"})) if unnamed else given
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    return provider


def _protocol(environment: Mapping[str, str]) -> str:
    general = environment.get("OTEL_EXPORTER_OTLP_PROTOCOL", "")
    return (environment.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "") or general).strip()


def _shut_down(provider: "TracerProvider") -> None:
    """Export the spans, or report that no collector accepted them in time."""
    exporting = threading.Thread(target=provider.shutdown, daemon=True)
    exporting.start()
    exporting.join(_FLUSH_SECONDS)
    if exporting.is_alive():
        print_message(f"jobworker: no collector accepted the spans within {_FLUSH_SECONDS:g} s")
