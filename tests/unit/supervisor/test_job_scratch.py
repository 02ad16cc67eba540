"""Jobs whose private directories are on disk, with real mounts and the quotas of `fake_quotas`."""

import asyncio
import errno
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fake_quotas import FakeQuotas
from host_resources import descriptors, opened_since
from job_context import NO_CGROUPS, commit_nothing, job_context, new_job
from msgspec.structs import replace

from jobworkerd.cgroup.hierarchy import Hierarchy
from jobworkerd.cgroup.process_group import ProcessGroup
from jobworkerd.config import Config, IsolationConfig
from jobworkerd.errors import HostExhausted
from jobworkerd.model import Usage
from jobworkerd.scratch import project_quota
from jobworkerd.scratch.disk import ScratchDisk
from jobworkerd.spawn import accounts
from jobworkerd.spawn.private_mounts import HOME
from jobworkerd.spawn.spare_setup import Setup
from jobworkerd.spawn.users import Users
from jobworkerd.supervisor.isolation_setup import isolation_for
from jobworkerd.supervisor.job_context import JobContext
from jobworkerd.supervisor.live_job import LiveJob

pytestmark = pytest.mark.root

MIB = 1 << 20


@pytest.fixture(autouse=True)
def quotas(monkeypatch: pytest.MonkeyPatch) -> FakeQuotas:
    return FakeQuotas.install(monkeypatch)


@pytest.fixture
def trees(tmp_path: Path) -> Path:
    """The directory with the trees of the jobs."""
    directory = tmp_path / "trees"
    directory.mkdir()
    return directory


@contextmanager
def context_with(trees: Path, isolation: IsolationConfig) -> Iterator[JobContext]:
    logs = trees.parent / "logs"
    logs.mkdir()
    widest = Users(isolation).widest
    entries = accounts.entries(widest, HOME.decode(), widest)
    setup = Setup((256, 256), 0, isolation_for(Config(isolation=isolation), entries))
    scratch = ScratchDisk(str(trees), lambda error: pytest.fail(str(error)))
    with job_context(logs, Hierarchy(None, NO_CGROUPS), setup, isolation, scratch=scratch) as made:
        yield made
    scratch.close()


@pytest.fixture
async def context(trees: Path) -> AsyncIterator[JobContext]:
    with context_with(trees, IsolationConfig(pid_namespace=False)) as made:
        yield made


async def start(context: JobContext, script: str) -> LiveJob:
    job = new_job("/bin/sh", "-c", script)
    job = replace(job, spec=replace(job.spec, max_scratch=5))
    return await LiveJob.start(job, context, lambda _: None, lambda _: None, commit_nothing)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


async def test_the_files_of_a_job_are_in_its_tree_until_its_end(
    context: JobContext, trees: Path, quotas: FakeQuotas
) -> None:
    script = "for i in /tmp /var/tmp /dev/shm $HOME; do echo x >$i/file; done; : >/tmp/all; sleep 1000"
    live = await start(context, script)
    tree = trees / live.id
    await until((tree / "-tmp/all").exists)
    assert sorted(str(path.relative_to(tree)) for path in tree.rglob("file")) == [
        "-dev-shm/file",
        "-home/job/file",
        "-tmp/file",
        "-var-tmp/file",
    ]
    assert [*quotas.bounds.values()] == [(5 * MIB, 320)]
    assert live.snapshot(live_usage=True).usage.scratch_bytes == 8
    live.kill_process_group()
    ended = await live.end()
    assert ended.usage.scratch_bytes == 8
    await until(lambda: not tree.exists() and not quotas.bounds)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EMFILE])
async def test_a_failing_disk_fails_the_start_and_leaves_nothing(
    context: JobContext, trees: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    earlier = await (await start(context, "true")).end()
    await until(lambda: not (trees / earlier.id).exists())
    before = descriptors()
    with monkeypatch.context() as fault:
        fault.setattr(project_quota, "set_bounds", refuse)
        with pytest.raises(HostExhausted, match=f"scratch of the job.*: {os.strerror(number)}"):
            await start(context, "true")
    await until(lambda: not (trees / new_job("true").id).exists())
    assert not {name: count for name, count in opened_since(before).items() if str(trees) in name}


async def test_the_usage_remains_known_if_the_disk_cannot_be_read(
    context: JobContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    live = await start(context, "sleep 1000")
    known = Usage(cpu_user_usec=7)
    monkeypatch.setattr(ProcessGroup, "usage", lambda _: known)
    monkeypatch.setattr(project_quota, "used_bytes", refuse)
    assert live.snapshot(live_usage=True).usage.cpu_user_usec == 7
    live.kill_process_group()
    ended = await live.end()
    assert (ended.usage.cpu_user_usec, ended.usage.scratch_bytes) == (7, None)


async def test_a_job_without_private_directories_has_no_tree(trees: Path) -> None:
    isolation = IsolationConfig(mount_namespace=False, pid_namespace=False)
    with context_with(trees, isolation) as context:
        live = await start(context, "true")
        assert not (trees / live.id).exists()
        ended = await live.end()
    assert ended.usage.scratch_bytes is None
