"""Lets the health service report whether the gateway can serve the cluster."""

import asyncio

import structlog

from jobworker_gateway.engine import Archive, Engine
from jobworkerd.errors import ClusterUnavailable
from jobworkerd.rpc_server.health import CERTIFICATES, SERVICES, STARTING, Health

NAMES = (*SERVICES, CERTIFICATES)
"""The names with a status. The hosts enforce limits, so that a gateway has no status for them."""

NOT_CURRENT = "the gateway does not know the current state of the cluster"
NO_ARCHIVE = "the archive does not answer"

_LOOK_SECONDS = 0.5

_ARCHIVE_LOOKS = 10
"""Looks at the engine per query of the archive."""

_NO_JOB = "00000000-0000-7000-8000-000000000000"


class ClusterHealth:
    """Looks at the engine, which logs its problems itself, and at the archive."""

    def __init__(self, health: Health, engine: Engine, archive: Archive) -> None:
        self._health = health
        self._engine = engine
        self._archive = archive
        self._looks = 0
        self._answers = True
        self._log: structlog.typing.FilteringBoundLogger = structlog.get_logger()

    async def watch(self) -> None:
        """Look twice per second. Runs until it is cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(_LOOK_SECONDS)

    async def look(self) -> None:
        """Update the health once."""
        if self._looks % _ARCHIVE_LOOKS == 0:
            await self._look_at_archive()
        self._looks += 1
        if self._engine.problem:
            self._health.add(NOT_CURRENT, SERVICES)
        else:
            self._health.remove(NOT_CURRENT)
        self._health.remove(STARTING)

    async def _look_at_archive(self) -> None:
        try:
            await self._archive.find(_NO_JOB)
        except ClusterUnavailable as error:
            self._health.add(NO_ARCHIVE, SERVICES)
            if self._answers:
                self._log.error("archive not reachable", reason=error.why)
            self._answers = False
            return
        self._health.remove(NO_ARCHIVE)
        if not self._answers:
            self._log.info("archive reachable again")
        self._answers = True
