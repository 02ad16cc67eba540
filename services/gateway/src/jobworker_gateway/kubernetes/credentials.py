"""Lets the gateway use a kubeconfig that was replaced."""

import asyncio

import structlog

from jobworker_cluster.access import InvalidKubeconfig
from jobworker_cluster.kube import Kube

_LOOK_SECONDS = 5.0


async def follow(kube: Kube) -> None:
    """Look every five seconds, until cancelled."""
    log: structlog.typing.FilteringBoundLogger = structlog.get_logger()
    while True:
        try:
            if await kube.refresh():
                log.info("kubeconfig renewed")
        except InvalidKubeconfig as error:
            log.warning("kubeconfig not usable", reason=str(error))
        await asyncio.sleep(_LOOK_SECONDS)
