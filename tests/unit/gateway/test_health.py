"""The health that a gateway reports, and its messages in the log."""

from grpc_health.v1 import health_pb2
from structlog.testing import capture_logs

from fake_cluster import FakeEngine
from jobworker.v1 import job_pb2
from jobworker_gateway.engine import ArchivedJob
from jobworker_gateway.health import _ARCHIVE_LOOKS, NAMES, ClusterHealth
from jobworkerd.errors import ClusterUnavailable
from jobworkerd.rpc_server.health import Health

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class Archive:
    """An archive without jobs that can fail."""

    is_down = False

    async def add(self, final: ArchivedJob) -> job_pb2.Job:
        """Refuse."""
        raise AssertionError(final)

    async def find(self, job_id: str) -> job_pb2.Job | None:
        """Find nothing, or fail."""
        if self.is_down:
            raise ClusterUnavailable(f"the archive failed: no {job_id}")
        return None

    async def is_deleted(self, job_id: str) -> bool:
        """Refuse."""
        raise AssertionError(job_id)

    async def find_request(self, request_key: str) -> ArchivedJob | None:
        """Refuse."""
        raise AssertionError(request_key)


def _status(health: Health) -> int:
    return int(health._status("jobworker.v1.JobService"))


async def test_a_gateway_serves_while_it_knows_the_cluster() -> None:
    health, engine = Health(NAMES), FakeEngine()
    engine.problem = "not in sync"
    watch = ClusterHealth(health, engine, Archive())
    await watch.look()
    assert _status(health) == NOT_SERVING
    engine.problem = ""
    await watch.look()
    assert _status(health) == SERVING
    engine.problem = "cut off"
    await watch.look()
    assert _status(health) == NOT_SERVING


async def test_an_archive_that_fails_is_logged_once_and_its_return_as_well() -> None:
    health, archive = Health(NAMES), Archive()
    watch = ClusterHealth(health, FakeEngine(), archive)
    with capture_logs() as logged:
        await watch.look()
        assert _status(health) == SERVING
        archive.is_down = True
        for _ in range(2 * _ARCHIVE_LOOKS):
            await watch.look()
        assert _status(health) == NOT_SERVING
        archive.is_down = False
        for _ in range(_ARCHIVE_LOOKS):
            await watch.look()
    assert _status(health) == SERVING
    assert [each["event"] for each in logged] == ["archive not reachable", "archive reachable again"]
    assert logged[0]["reason"].startswith("the archive failed: ")
