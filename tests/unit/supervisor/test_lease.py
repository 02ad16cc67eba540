"""The lease of the host: its end, and its continuation by another supervisor."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from jobworkerd.records.store import Records
from jobworkerd.supervisor import boot
from jobworkerd.supervisor.lease import Lease


class Host:
    """A clock that a test sets, records, and the ends of leases."""

    def __init__(self, records: Records) -> None:
        self.now = 100.0
        self.ended = asyncio.Event()
        self._records = records

    def lease(self) -> Lease:
        """Return the lease of a new supervisor."""
        loop = asyncio.get_running_loop()
        lease = Lease(loop, self._records, self.ended.set, lambda: self.now)
        lease.resume()
        return lease


@pytest.fixture
async def records(tmp_path: Path) -> AsyncIterator[Records]:
    opened = Records(tmp_path, lambda what, error: pytest.fail(f"{what}: {error!r}"))
    yield opened
    opened.close()


@pytest.fixture
async def host(records: Records) -> Host:
    return Host(records)


async def test_without_a_renewal_there_is_no_lease(host: Host) -> None:
    lease = host.lease()
    assert not lease.holds
    assert host.ended.is_set()


async def test_a_lease_ends_once_it_is_not_renewed(host: Host) -> None:
    lease = host.lease()
    host.ended.clear()
    await lease.renew(0.01)
    assert lease.holds
    host.now += 0.01
    async with asyncio.timeout(20):
        await host.ended.wait()
    assert not lease.holds


async def test_a_renewal_replaces_the_end(host: Host) -> None:
    lease = host.lease()
    await lease.renew(60)
    await lease.renew(5)
    lease.close()
    host.now += 5
    assert not lease.holds


async def test_a_renewal_that_is_handled_late_does_not_extend_the_lease(host: Host) -> None:
    """The cluster gives up the host after a time since the agent has sent the renewal."""
    lease = host.lease()
    await lease.renew(15, host.now + 15)
    sent_at = host.now
    host.now += 12
    await lease.renew(15, sent_at + 15)
    host.now += 3
    assert not lease.holds
    lease.close()


async def test_a_renewal_that_arrives_after_a_later_one_changes_nothing(host: Host) -> None:
    lease = host.lease()
    await lease.renew(15, host.now + 15)
    host.ended.clear()
    await lease.renew(15, host.now + 1)
    host.now += 14
    assert lease.holds
    assert not host.ended.is_set()
    lease.close()


async def test_a_lease_can_begin_again(host: Host) -> None:
    lease = host.lease()
    await lease.renew(5)
    assert lease.holds
    lease.close()


async def test_a_renewal_does_not_hide_the_end_of_the_lease(host: Host) -> None:
    """The agent renews the lease of a host that was suspended before the timer looks at the clock."""
    lease = host.lease()
    await lease.renew(5)
    host.ended.clear()
    host.now += 600
    await lease.renew(5)
    assert host.ended.is_set()
    assert lease.holds
    lease.close()


async def test_a_renewal_in_time_ends_nothing(host: Host) -> None:
    lease = host.lease()
    await lease.renew(5)
    host.ended.clear()
    host.now += 4
    await lease.renew(5)
    assert not host.ended.is_set()
    lease.close()


async def test_the_next_supervisor_continues_the_lease(host: Host) -> None:
    first = host.lease()
    await first.renew(60)
    first.close()
    host.ended.clear()
    host.now += 59
    second = host.lease()
    assert second.holds
    assert not host.ended.is_set()
    second.close()
    host.now += 1
    assert not host.lease().holds
    assert host.ended.is_set()


async def test_the_lease_does_not_survive_a_boot(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = host.lease()
    await first.renew(60)
    first.close()
    (tmp_path / "boot_id").write_text("another\n")
    monkeypatch.setattr(boot, "_BOOT_ID_FILE", tmp_path / "boot_id")
    assert not host.lease().holds
