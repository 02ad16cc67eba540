"""The resources of the host, for GetHost."""

import os
from pathlib import Path

import pytest

from jobworkerd.api.host import describe_host
from jobworkerd.config import CapacityConfig, Config


def test_cores_that_are_added_or_removed_count_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    host = describe_host(Config(), Path("jobs"))
    for count in (4, 64, 2):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _pid, count=count: set(range(count)))
        assert host.max_cpu == 100 * count


def test_memory_that_is_added_counts_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    host = describe_host(Config(), Path("jobs"))
    sizes = {"SC_PHYS_PAGES": 1 << 20, "SC_PAGE_SIZE": 4_096}
    monkeypatch.setattr(os, "sysconf", sizes.__getitem__)
    assert host.max_memory == 4_096
    sizes["SC_PHYS_PAGES"] *= 2
    assert host.max_memory == 8_192


def test_a_configured_capacity_replaces_that_of_the_host() -> None:
    host = describe_host(Config(capacity=CapacityConfig(cpu=150, memory=512)), Path("jobs"))
    assert (host.max_cpu, host.max_memory) == (150, 512)
