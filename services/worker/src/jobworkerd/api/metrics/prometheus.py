"""Builds the Prometheus endpoint. Imported only if the server has one."""

import ssl
from collections.abc import Awaitable, Callable
from functools import partial
from http import HTTPStatus

import msgspec

from jobworkerd.metrics.instruments import Snapshot, decode
from jobworkerd.protocol.metrics_messages import Metrics
from jobworkerd.rpc_server.identity.principal import Identities
from jobworkerd.rpc_server.metrics import text_format
from jobworkerd.rpc_server.metrics.endpoint import MetricsEndpoint, bind
from jobworkerd.rpc_server.metrics.http import Response
from jobworkerd.rpc_server.metrics.merge import merge

__all__ = ["bind", "endpoint"]

Collect = Callable[[], Awaitable[Metrics]]
"""Returns the metrics of all processes of the server."""


def endpoint(
    collect: Collect, identities: Identities, tls: Callable[[], ssl.SSLContext] | None
) -> MetricsEndpoint:
    """Return the endpoint. `tls` returns the context for a connection; None means plain HTTP."""
    return MetricsEndpoint(partial(_report, collect), identities, tls)


async def _report(collect: Collect, accept: str) -> Response:
    """Return the metrics in the form that the Accept header of a scrape asks for.

    Raises:
        JobWorkerError: the supervisor does not answer.
    """
    found = await collect()
    form = text_format.content_type(accept)
    merged = merge(decode(found.supervisor), [_decoded(each) for each in found.api_processes])
    return Response(HTTPStatus.OK, text_format.render(merged, form), form)


def _decoded(snapshot: bytes | None) -> Snapshot | None:
    """Return the snapshot of an API process; None if it is missing or damaged."""
    try:
        return decode(snapshot) if snapshot else None
    except msgspec.DecodeError:
        return None
