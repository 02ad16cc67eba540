"""The pool of spare processes, and replacements for dead ones."""

import asyncio
import os
import signal
import sys

import pytest
from children import reap_all, wait_until
from host_resources import descriptors, opened_since
from own_children import OwnChildren

from jobworkerd.spawn import fork_client, spare_pool
from jobworkerd.spawn.exec_protocol import Failed, encode
from jobworkerd.spawn.spare import discard
from jobworkerd.spawn.spare_pool import SparePool
from tests.unit.spawn.spare_runs import (
    SETUP,
    child_list,
    fork_server_pid,
    has_ended,
    new_spec,
    run,
)


async def test_take_more_processes_than_the_pool_holds(pool: SparePool, children: OwnChildren) -> None:
    pool.refill()
    taken = [await pool.take() for _ in range(5)]
    assert len({spare.pid for spare in taken}) == 5
    for spare in taken:
        discard(spare, children)


async def test_take_skips_a_killed_spare_process(pool: SparePool, children: OwnChildren) -> None:
    pool.refill()
    victim = await pool.take()
    pool.refill()
    second = await pool.take()
    os.kill(second.pid, signal.SIGKILL)
    wait_until(lambda: has_ended(second.pid))
    for spare in (victim, second):
        discard(spare, children)
    assert (await run(pool, new_spec("echo", "x"))).output == b"x\n"


async def test_the_pool_replaces_a_killed_fork_server(pool: SparePool) -> None:
    assert (await run(pool, new_spec("echo", "x"))).output == b"x\n"
    pool.refill()
    os.kill(fork_server_pid(pool), signal.SIGKILL)
    for _ in range(4):
        assert (await run(pool, new_spec("echo", "x"))).output == b"x\n"


async def test_take_survives_three_kills_of_the_fork_server(pool: SparePool, children: OwnChildren) -> None:
    os.kill(fork_server_pid(pool), signal.SIGSTOP)
    pool.refill()
    taking = asyncio.create_task(pool.take())
    async with asyncio.timeout(10):
        for _ in range(3):
            fork_server = fork_server_pid(pool)
            os.kill(fork_server, signal.SIGKILL)
            while fork_server_pid(pool) == fork_server and not taking.done():
                await asyncio.sleep(0)
        discard(await taking, children)


async def test_take_fails_if_each_fork_server_dies(
    monkeypatch: pytest.MonkeyPatch, children: OwnChildren
) -> None:
    before, open_files = child_list(), descriptors()
    monkeypatch.setattr(fork_client, "FORK_SERVER", ["/bin/false"])
    pool = SparePool(SETUP, children)
    with pytest.raises(OSError, match="die during their preparation"):
        await pool.take()
    pool.close()
    reap_all(children)
    assert child_list() == before
    assert not opened_since(open_files)


async def test_take_skips_a_process_that_was_dropped_before_it_was_ready(
    pool: SparePool, children: OwnChildren
) -> None:
    pool.refill()
    outdated = list(pool._requests)
    pool.drop()
    spare = await pool.take()
    assert spare.pid not in [pid for each in outdated for pid in each.forked]
    discard(spare, children)


async def test_a_dropped_process_ends_when_it_becomes_ready(pool: SparePool, children: OwnChildren) -> None:
    fork_server = child_list()
    pool.refill()

    def dropped() -> bool:
        pool.drop()
        return not pool._outdated

    wait_until(dropped)
    reap_all(children)
    assert child_list() == fork_server


async def test_dropped_processes_that_are_not_ready_do_not_count(pool: SparePool) -> None:
    os.kill(fork_server_pid(pool), signal.SIGSTOP)
    pool.refill()
    pool.drop()
    assert pool.size == 0
    pool.refill()
    assert [each.generation for each in pool._requests] == [1, 1, 1]
    os.kill(fork_server_pid(pool), signal.SIGCONT)


async def test_close_ends_all_processes_of_the_pool(children: OwnChildren) -> None:
    before, open_files = child_list(), descriptors()
    pool = SparePool(SETUP, children)
    pool.refill()
    wait_until(lambda: len(child_list()) == len(before) + 4)
    pool.close()
    reap_all(children)
    assert child_list() == before
    assert not opened_since(open_files)


async def test_close_ends_processes_that_never_become_ready(
    children: OwnChildren, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spare_pool, "_CLOSE_SECONDS", 0.0)
    before, open_files = child_list(), descriptors()
    pool = SparePool(SETUP, children)
    os.kill(fork_server_pid(pool), signal.SIGSTOP)
    pool.refill()
    assert pool.size == 3
    pool.close()
    reap_all(children)
    assert child_list() == before
    assert not opened_since(open_files)


async def test_take_does_not_block_the_event_loop(pool: SparePool, children: OwnChildren) -> None:
    os.kill(fork_server_pid(pool), signal.SIGSTOP)
    taking = asyncio.create_task(pool.take())
    await asyncio.sleep(0)  # until it waits for the report
    assert not taking.done()
    os.kill(fork_server_pid(pool), signal.SIGCONT)
    discard(await taking, children)


async def test_a_cancelled_take_leaves_the_process_in_the_pool(
    pool: SparePool, children: OwnChildren
) -> None:
    before, open_files = child_list(), descriptors()
    os.kill(fork_server_pid(pool), signal.SIGSTOP)
    taking = asyncio.create_task(pool.take())
    await asyncio.sleep(0)
    taking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await taking
    os.kill(fork_server_pid(pool), signal.SIGCONT)
    while pool.size:
        discard(await pool.take(), children)
    reap_all(children)
    assert child_list() == before
    assert not opened_since(open_files)


async def test_take_refills_an_empty_pool_while_it_waits(pool: SparePool, children: OwnChildren) -> None:
    first = await pool.take()
    left = pool.size
    assert left >= 2
    for spare in [first, *[await pool.take() for _ in range(left)]]:
        discard(spare, children)


async def test_a_reported_eagain_is_an_error_and_not_an_empty_socket(
    monkeypatch: pytest.MonkeyPatch, children: OwnChildren
) -> None:
    """Both fork(2) and a socket without a packet can fail with EAGAIN."""
    refusing = (
        "import socket, sys\n"
        "sock = socket.socket(fileno=int(sys.argv[1]))\n"
        "while fds := socket.recv_fds(sock, 1, 4)[1]:\n"
        f"    socket.socket(fileno=fds[3]).send({encode(Failed('fork', 11))!r})\n"
    )

    before, open_files = child_list(), descriptors()
    monkeypatch.setattr(fork_client, "FORK_SERVER", [sys.executable, "-c", refusing, "{0}"])
    pool = SparePool(SETUP, children)
    with pytest.raises(BlockingIOError, match="fork"):
        await pool.take()
    pool.close()
    reap_all(children)
    assert child_list() == before
    assert not opened_since(open_files)
