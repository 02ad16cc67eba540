"""The resources of a server survive its supervisor, with and without cgroups and a port for metrics."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import pytest

from jobworkerd.cgroup.hierarchy import OccupiedBase
from jobworkerd.keeper import memory_file
from jobworkerd.keeper.client import HeldEntry, KeeperClient
from jobworkerd.supervisor.port import reserve
from jobworkerd.supervisor.server_entry import ServerEntry, from_held


class Keeper:
    """Keeps duplicates of the descriptors, as the keeper does."""

    def __init__(self) -> None:
        self.descriptors: list[int] = []

    async def hold(self, _key: str, state: bytes, descriptors: Sequence[int], _pids: Sequence[int]) -> None:
        self.descriptors = [memory_file.create("state", state), *map(os.dup, descriptors)]


def is_same(first: int, second: int) -> bool:
    """Return whether two descriptors are of one file."""
    return os.fstat(first).st_ino == os.fstat(second).st_ino


@pytest.mark.parametrize("has_metrics", [False, True])
@pytest.mark.parametrize("has_base", [False, True])
async def test_the_next_supervisor_gets_the_same_resources(
    tmp_path: Path, *, has_base: bool, has_metrics: bool
) -> None:
    locks = [os.open(tmp_path / name, os.O_RDWR | os.O_CREAT) for name in ("state", "base")]
    base = OccupiedBase(Path("/base"), locks[1], Path("/origin")) if has_base else None
    metrics = reserve("127.0.0.1:0") if has_metrics else None
    entry, keeper = ServerEntry(locks[0], reserve("127.0.0.1:0"), metrics, base), Keeper()
    await entry.hold(cast("KeeperClient", keeper))
    found = from_held(HeldEntry(keeper.descriptors, (), {}))
    assert (found.port.listen, found.port.address) == ("127.0.0.1:0", entry.port.address)
    assert found.port.sock.getsockname() == entry.port.sock.getsockname()
    assert is_same(found.state_lock, locks[0])
    assert (found.base is not None, found.metrics_port is not None) == (has_base, has_metrics)
    if found.base:
        assert (found.base.base, found.base.origin) == (Path("/base"), Path("/origin"))
        assert is_same(found.base.lock, locks[1])
    if found.metrics_port and metrics:
        assert found.metrics_port.address == metrics.address
        assert found.metrics_port.sock.getsockname() == metrics.sock.getsockname()
    close(entry, locks)
    close(found, [found.state_lock, *([found.base.lock] if found.base else [])])


def close(entry: ServerEntry, locks: Sequence[int]) -> None:
    entry.port.close()
    if entry.metrics_port:
        entry.metrics_port.close()
    for each in locks:
        os.close(each)
