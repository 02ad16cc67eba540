"""The trees of jobs on disk, with the quotas of `fake_quotas`."""

import asyncio
import errno
import os
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from fake_quotas import FakeQuotas
from host_resources import descriptors, opened_since

from jobworkerd.job_id import JobIds
from jobworkerd.scratch import disk, project_quota
from jobworkerd.scratch.disk import ScratchDisk
from jobworkerd.scratch.tree_removal import Interrupted, TreeRemoval
from jobworkerd.spawn import mounting
from jobworkerd.startup import CannotStart, InUse

pytestmark = pytest.mark.root

new_id = JobIds().new
MIB = 1 << 20


@pytest.fixture
def quotas(monkeypatch: pytest.MonkeyPatch) -> FakeQuotas:
    return FakeQuotas.install(monkeypatch)


@pytest.fixture
def errors() -> list[BaseException]:
    """The errors that were reported to the event loop."""
    return []


@pytest.fixture
async def scratch(
    tmp_path: Path,
    quotas: FakeQuotas,  # noqa: ARG001
    errors: list[BaseException],
) -> AsyncIterator[ScratchDisk]:
    """An owner of trees in `tmp_path`."""
    made = ScratchDisk(str(tmp_path), errors.append)
    yield made
    made.close()


def names(directory: Path) -> set[str]:
    return {entry.name for entry in directory.iterdir()}


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


async def test_a_tree_is_bounded_and_its_mount_is_private(
    scratch: ScratchDisk, quotas: FakeQuotas, tmp_path: Path
) -> None:
    job_id = new_id()
    mount = await scratch.create(job_id, 100 * MIB)
    assert [*quotas.bounds.values()] == [(100 * MIB, 6_400)]
    assert (tmp_path / job_id).stat().st_mode & 0o777 == 0o700
    (tmp_path / job_id / "file").touch()
    assert names(Path(f"/proc/self/fd/{mount}")) == {"file"}
    assert os.fstatvfs(mount).f_flag & (os.ST_NOSUID | os.ST_NODEV) == os.ST_NOSUID | os.ST_NODEV
    os.close(mount)


async def test_a_discarded_tree_and_its_project_are_removed(
    scratch: ScratchDisk, quotas: FakeQuotas, tmp_path: Path, errors: list[BaseException]
) -> None:
    job_ids = [new_id(), new_id()]
    for job_id in job_ids:
        os.close(await scratch.create(job_id, MIB))
        (tmp_path / job_id / "a/b").mkdir(parents=True)
    scratch.discard(job_ids[0])
    scratch.discard(job_ids[0])
    await until(lambda: names(tmp_path) == {job_ids[1]})
    await until(lambda: len(quotas.bounds) == 1)
    assert errors == []


async def test_a_project_whose_files_are_open_is_released_later(
    scratch: ScratchDisk, quotas: FakeQuotas, tmp_path: Path
) -> None:
    first, second = new_id(), new_id()
    for job_id in (first, second):
        os.close(await scratch.create(job_id, MIB))
    project = (tmp_path / first).stat().st_ino
    quotas.in_use.add(project)
    scratch.discard(first)
    await until(lambda: names(tmp_path) == {second})
    await asyncio.sleep(0.02)
    assert project in quotas.bounds
    quotas.in_use.clear()
    scratch.discard(second)
    await until(lambda: not quotas.bounds)


async def test_projects_of_an_earlier_server_are_released(scratch: ScratchDisk, quotas: FakeQuotas) -> None:
    quotas.bounds = {1: (MIB, 64), 2: (MIB, 64)}
    quotas.in_use = {2}
    scratch.sweep([])
    await until(lambda: [*quotas.bounds] == [2])


async def test_only_trees_of_jobs_that_are_not_live_are_swept(scratch: ScratchDisk, tmp_path: Path) -> None:
    live, dead = new_id(), new_id()
    for name in (live, dead, "lost+found", "a-file-of-the-administrator"):
        (tmp_path / name).mkdir()
    scratch.sweep([live])
    await until(lambda: names(tmp_path) == {live, "lost+found", "a-file-of-the-administrator"})


async def test_a_start_on_a_broken_disk_is_reported(
    scratch: ScratchDisk, errors: list[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as fault:
        fault.setattr(os, "scandir", failing(errno.EIO))
        scratch.sweep([])
    assert [each.errno for each in errors if isinstance(each, OSError)] == [errno.EIO]


async def test_a_tree_that_cannot_be_removed_is_reported(
    scratch: ScratchDisk, tmp_path: Path, errors: list[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: TreeRemoval) -> None:
        raise PermissionError(errno.EPERM, "refused")

    job_id, other = new_id(), new_id()
    for each in (job_id, other):
        (tmp_path / each).mkdir()
    with monkeypatch.context() as fault:
        fault.setattr(TreeRemoval, "run", refuse)
        scratch.discard(job_id)
        await until(lambda: errors)
    scratch.discard(other)
    await until(lambda: names(tmp_path) == {job_id})


async def test_the_removal_is_repeated_while_the_host_is_exhausted(
    scratch: ScratchDisk, tmp_path: Path, errors: list[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = [errno.EMFILE, errno.ENOMEM, errno.ENOSPC]
    run = TreeRemoval.run

    def fail(removal: TreeRemoval) -> None:
        if failures:
            raise OSError(failures.pop(), "exhausted")
        run(removal)

    monkeypatch.setattr(disk, "_RETRY_SECONDS", 0.01)
    monkeypatch.setattr(TreeRemoval, "run", fail)
    job_id = new_id()
    (tmp_path / job_id / "a").mkdir(parents=True)
    scratch.discard(job_id)
    await until(lambda: not names(tmp_path))
    assert (failures, errors) == ([], [])


@pytest.mark.usefixtures("quotas")
async def test_the_end_waits_for_small_trees(tmp_path: Path) -> None:
    made = ScratchDisk(str(tmp_path), print)
    for number in range(20):
        job_id = new_id()
        (tmp_path / job_id / str(number)).mkdir(parents=True)
        made.discard(job_id)
    made.close()
    assert not names(tmp_path)
    made.discard(new_id())


@pytest.mark.usefixtures("quotas")
async def test_the_end_interrupts_a_long_removal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wait(removal: TreeRemoval) -> None:
        while not removal.interrupted():
            waiting.set()
        raise Interrupted

    waiting = threading.Event()
    monkeypatch.setattr(disk, "_LAST_REMOVALS_SECONDS", 0.05)
    monkeypatch.setattr(TreeRemoval, "run", wait)
    job_id = new_id()
    (tmp_path / job_id).mkdir()
    made = ScratchDisk(str(tmp_path), print)
    made.discard(job_id)
    waiting.wait()
    made.close()
    assert names(tmp_path) == {job_id}


@pytest.mark.usefixtures("scratch")
async def test_two_servers_cannot_share_a_directory(tmp_path: Path) -> None:
    with pytest.raises(InUse, match="another server uses"):
        ScratchDisk(str(tmp_path), print)


async def test_a_missing_directory_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CannotStart, match="cannot be used"):
        ScratchDisk(str(tmp_path / "none"), print)


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENOSPC])
async def test_a_tree_that_cannot_be_created_leaves_nothing(
    scratch: ScratchDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    before = descriptors()
    for name in ("assign_project", "set_bounds"):
        with monkeypatch.context() as fault:
            fault.setattr(project_quota, name, failing(number))
            await check_failed_creation(scratch, number)
    for name in ("open_tree", "make_private"):
        with monkeypatch.context() as fault:
            fault.setattr(mounting, name, failing(number))
            await check_failed_creation(scratch, number)
    await until(lambda: not names(tmp_path))
    assert not opened_since(before)


async def test_a_cancelled_creation_leaves_nothing(
    scratch: ScratchDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(tree: int) -> None:
        creating.set()
        finish.wait(20)
        make_private(tree)

    creating, finish, make_private = threading.Event(), threading.Event(), mounting.make_private
    monkeypatch.setattr(mounting, "make_private", slow)
    before, job_id = descriptors(), new_id()
    creation = asyncio.create_task(scratch.create(job_id, MIB))
    await until(creating.is_set)
    creation.cancel()
    await asyncio.sleep(0.01)
    assert not creation.done(), "a removal would not find everything"
    finish.set()
    with pytest.raises(asyncio.CancelledError):
        await creation
    scratch.discard(job_id)
    await until(lambda: not names(tmp_path))
    assert not opened_since(before)


async def check_failed_creation(scratch: ScratchDisk, number: int) -> None:
    job_id = new_id()
    with pytest.raises(OSError, match=os.strerror(number)):
        await scratch.create(job_id, MIB)
    scratch.discard(job_id)


def failing(number: int) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail
