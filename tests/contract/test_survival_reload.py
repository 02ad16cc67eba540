"""Check that a reload changes settings and no job, and that a killed fork server is replaced."""

import signal
from collections.abc import Iterator
from pathlib import Path

import grpc
import psutil
import pytest
from conftest import BIN
from restarts import following, fork_server, keeper, lasting_client, reload, supervisor

from jobworker.v1 import job_pb2
from live import SLOW, Server, eventually
from live_client import refused

KEEPER_BYTES = 12 << 20
JOBS = 5 if SLOW else 30
COUNTER = 'i=0; while [ ! -e "$0" ]; do i=$((i+1)); echo $i; sleep 0.01; done; exit 7'


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    """A configuration file that allows two jobs."""
    path = tmp_path / "config.toml"
    path.write_text("max_jobs = 2\n")
    return path


@pytest.fixture
def configured_server(certs: Path, tmp_path: Path, settings: Path) -> Iterator[Server]:
    """A server with a configuration file."""
    with Server.started(BIN, certs, tmp_path / "state", "--config", str(settings)) as started:
        yield started


def configure(settings: Path, text: str) -> None:
    """Replace the configuration file."""
    settings.write_text(text)


async def test_a_reload_applies_new_settings_and_keeps_jobs(
    configured_server: Server, settings: Path
) -> None:
    async with lasting_client(configured_server) as admin:
        jobs = [await admin.create("sleep", "1000") for _ in range(2)]
        async with refused(grpc.StatusCode.RESOURCE_EXHAUSTED):
            await admin.create("true")
        configure(settings, "max_jobs = 3\n")
        main, helpers = keeper(configured_server), _helpers(configured_server)
        await reload(configured_server)
        for job in jobs:
            assert (await admin.get(job.id)).pid == job.pid
        jobs.append(await admin.create("sleep", "1000"))
        async with refused(grpc.StatusCode.RESOURCE_EXHAUSTED):
            await admin.create("true")
        assert keeper(configured_server) == main
        await eventually(lambda: not any(each.is_running() for each in helpers))
        assert len({job.id for job in jobs}) == 3
    assert not configured_server.has_event("reload failed")


def _helpers(server: Server) -> list[psutil.Process]:
    return [supervisor(server), fork_server(server), *server.api_processes()]


@pytest.mark.parametrize("broken", ['max_jobs = "many"\n', "max_jobs = \n"])
async def test_a_reload_with_settings_that_cannot_be_used_changes_nothing(
    configured_server: Server, settings: Path, broken: str
) -> None:
    async with lasting_client(configured_server) as admin:
        job = await admin.create("sleep", "1000")
        helpers = _helpers(configured_server)
        configure(settings, broken)
        keeper(configured_server).send_signal(signal.SIGHUP)
        await eventually(lambda: configured_server.has_event("reload failed"), seconds=60)
        assert _helpers(configured_server) == helpers
        assert (await admin.get(job.id)).pid == job.pid
        configure(settings, "max_jobs = 1\n")
        await reload(configured_server)
        assert (await admin.get(job.id)).pid == job.pid
        async with refused(grpc.StatusCode.RESOURCE_EXHAUSTED):
            await admin.create("true")


async def test_a_killed_fork_server_is_replaced(own_server: Server, job_files: Path) -> None:
    stop = job_files / "stop"
    async with lasting_client(own_server) as admin:
        job = await admin.create("sh", "-c", COUNTER, str(stop))
        with following(admin, job.id) as follower:
            old = fork_server(own_server)
            old.kill()
            for number in range(8):  # more than there are spare processes
                _, output = await admin.run("echo", str(number))
                assert output == f"{number}\n".encode()
            assert fork_server(own_server) != old
            stop.touch()
            assert (await follower.ended()).exit_code == 7
    assert follower.calls == 1
    lines = follower.output.decode().split()
    assert lines == [str(number) for number in range(1, len(lines) + 1)]


async def test_the_keeper_stays_small(own_server: Server) -> None:
    async with lasting_client(own_server) as admin:
        jobs = [await admin.create("sleep", "1000") for _ in range(JOBS)]
        await reload(own_server)
        assert (await admin.get(jobs[-1].id)).status == job_pb2.JOB_STATUS_RUNNING
        assert keeper(own_server).memory_info().rss < KEEPER_BYTES
        assert keeper(own_server).num_threads() == 1
