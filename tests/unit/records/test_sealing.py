"""The encryption of environments."""

import asyncio
import os
import stat
from pathlib import Path

import pytest

from jobworkerd.records.sealing import CannotUnseal, Sealer
from jobworkerd.records.state_key import KEY_FILE, StateKey

ENV = {"TOKEN": "s3cret", "NAME": "ä"}


async def test_an_environment_survives_a_restart(tmp_path: Path) -> None:
    sealed = await Sealer(StateKey(tmp_path)).seal("a", ENV)

    assert await Sealer(StateKey(tmp_path)).unseal("a", sealed) == ENV


async def test_an_environment_is_not_readable(tmp_path: Path) -> None:
    first, second = [await Sealer(StateKey(tmp_path)).seal("a", ENV) for _ in range(2)]

    assert b"s3cret" not in first
    assert b"TOKEN" not in first
    assert first != second, "equal environments must not be recognizable"


async def test_only_the_server_can_read_the_key(tmp_path: Path) -> None:
    await Sealer(StateKey(tmp_path)).seal("a", ENV)

    assert stat.S_IMODE((tmp_path / KEY_FILE).stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == [KEY_FILE]  # noqa: PTH208 - an async function


async def test_concurrent_first_uses_share_a_key(tmp_path: Path) -> None:
    sealer = Sealer(StateKey(tmp_path))
    sealed = await asyncio.gather(*(sealer.seal("a", ENV) for _ in range(20)))

    assert [await sealer.unseal("a", each) for each in sealed] == [ENV] * 20


async def test_an_environment_belongs_to_its_job(tmp_path: Path) -> None:
    sealed = await Sealer(StateKey(tmp_path)).seal("a", ENV)

    with pytest.raises(CannotUnseal, match="is not the key"):
        await Sealer(StateKey(tmp_path)).unseal("b", sealed)


@pytest.mark.parametrize(("key", "why"), [(None, "is missing"), (b"", "is not"), (b"x" * 32, "is not")])
async def test_a_lost_key_is_reported(tmp_path: Path, key: bytes | None, why: str) -> None:
    sealed = await Sealer(StateKey(tmp_path)).seal("a", ENV)
    (tmp_path / KEY_FILE).unlink()
    if key is not None:
        (tmp_path / KEY_FILE).write_bytes(key)

    with pytest.raises(CannotUnseal, match=why):
        await Sealer(StateKey(tmp_path)).unseal("a", sealed)


async def test_a_key_that_was_not_completed_is_replaced(tmp_path: Path) -> None:
    (tmp_path / f"{KEY_FILE}.new").write_bytes(b"part")
    sealed = await Sealer(StateKey(tmp_path)).seal("a", ENV)

    assert await Sealer(StateKey(tmp_path)).unseal("a", sealed) == ENV
