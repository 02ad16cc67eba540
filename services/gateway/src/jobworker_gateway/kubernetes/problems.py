"""Logs when the cluster does not answer the watches of the gateway, or refuses them."""

import asyncio
from collections.abc import Callable, Iterable

import structlog

from jobworker_cluster.reflector import NOT_LISTED, Reflector
from jobworker_gateway.kubernetes.cluster_errors import REFUSED, UNREACHABLE

_LOOK_SECONDS = 0.5


async def report(current: Callable[[], str], watches: Iterable[Reflector]) -> None:
    """Log each problem once, and its end, until cancelled. `current` returns the problem now, or nothing."""
    log: structlog.typing.FilteringBoundLogger = structlog.get_logger()
    reported = ""
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        problem, refused = current(), any(each.is_refused for each in watches)
        if not problem:
            if reported:
                log.info("cluster reachable again")
            reported = ""
        elif refused and reported != REFUSED:
            log.warning(REFUSED, reason=problem)
            reported = REFUSED
        elif not reported and not problem.endswith(NOT_LISTED):
            log.warning(UNREACHABLE, reason=problem)
            reported = UNREACHABLE
