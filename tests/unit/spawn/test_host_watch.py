"""Changes of the host that make spare processes outdated."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

from host_resources import descriptors, opened_since

from jobworkerd.spawn.host_watch import HostWatch

TIMEOUT_SECONDS = 30


@asynccontextmanager
async def watching(
    files: Iterable[Path] = (), directories: Iterable[Path] = ()
) -> AsyncIterator["asyncio.Queue[None]"]:
    changes: asyncio.Queue[None] = asyncio.Queue()
    before = descriptors()
    loop = asyncio.get_running_loop()
    watch = HostWatch(loop, files, directories, lambda: changes.put_nowait(None))
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            yield changes
    finally:
        watch.close()
    assert not opened_since(before)


async def test_a_replaced_file_and_a_written_file_are_reported(tmp_path: Path) -> None:
    file, new = tmp_path / "passwd", tmp_path / "new"
    file.touch()
    async with watching([file]) as changes:
        for text in ("first", "second"):
            new.write_text(text)
            new.replace(file)
            await changes.get()
        while not changes.empty():
            changes.get_nowait()
        with file.open("a") as opened:
            opened.write("third")
        await changes.get()


async def test_a_missing_file_is_ignored(tmp_path: Path) -> None:
    async with watching([tmp_path / "group"]) as changes:
        assert changes.empty()


async def test_a_removed_and_a_created_directory_are_reported(tmp_path: Path) -> None:
    parent, directory = tmp_path / "parent", tmp_path / "parent/results"
    async with watching(directories=[directory]) as changes:
        parent.mkdir()  # neither existed
        await changes.get()
        directory.mkdir()
        await changes.get()
        directory.rename(parent / "old")
        await changes.get()
        directory.mkdir()
        await changes.get()
        parent.rename(tmp_path / "elsewhere")
        await changes.get()
        assert changes.empty()


async def test_other_entries_of_the_same_directory_are_ignored(tmp_path: Path) -> None:
    directory = tmp_path / "results"
    directory.mkdir()
    async with watching(directories=[directory]) as changes:
        (tmp_path / "other").mkdir()
        (directory / "result").touch()
        directory.rename(tmp_path / "old")
        await changes.get()
        assert changes.empty()
