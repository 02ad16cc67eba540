"""The latency of other clients while a server is attacked, and what the attacks leave behind."""

import asyncio
import contextlib
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple
from pathlib import Path

from footprint import Footprint
from result import Result

from live import Server, until
from live_client import client

FEW_DESCRIPTORS = 512
"""RLIMIT_NOFILE of the server whose descriptors are exhausted."""

_SECONDS = 8.0
_BOUND_MS = 100
_OUTPUT_BYTES = 8 * 2**20
_SETTLE_SECONDS = 60
_TRIM_SECONDS = 11
"""Every ten seconds the API process returns freed memory in a thread, which it keeps."""

_ACCEPTED_MIB = 64
"""Caches of messages and of the allocator grow at their first use."""

_OTHER = "other"
"""Name of the certificate of the client that is not an attacker."""

Attacks = Sequence[str]

_CASES: Mapping[str, Attacks] = {
    "2,000 half-open connections, 500 stalled streams of one viewer, 100 creates per second": (
        "half_open",
        "streams_500",
        "creates",
    ),
    "10,000 connections": ("connections",),
    "1,000 stalled streams of one viewer": ("streams_1000",),
    "header bombs": ("headers",),
    "message bombs": ("messages",),
    "a flood of resets": ("resets",),
    "a flood of TLS handshakes": ("handshakes",),
}
_CRAMPED_CASES: Mapping[str, Attacks] = {
    "exhausted descriptors of the API process": ("offsets",),
    "exhausted descriptors of the supervisor": ("jobs",),
}


def attacks(server: Server) -> list[Result]:
    """Measure GetJob and a health check of another client while clients attack the server."""
    return _measure(server, "attacks", _CASES)


def exhaustion(server: Server) -> list[Result]:
    """Measure the same while clients exhaust the descriptors of a server with few of them."""
    return _measure(server, "exhaustion", _CRAMPED_CASES)


def _measure(server: Server, name: str, cases: Mapping[str, Attacks]) -> list[Result]:
    _issue_certificate(server.certs)
    job_id = asyncio.run(_job_with_output(server))
    _beside(server, job_id, ())
    time.sleep(_TRIM_SECONDS)
    before = Footprint.of(server)
    results = [
        result for case, attacks in cases.items() for result in _latencies(server, job_id, case, attacks)
    ]
    return [*results, *_left_behind(server, name, before)]


def _issue_certificate(certs: Path) -> None:
    if not (certs / f"{_OTHER}.pem").exists():
        program = str(Path(sys.executable).with_name("jobworkerd"))
        argv = [program, "certs", "issue", _OTHER, "--role", "viewer", "--dir", str(certs)]
        subprocess.run(argv, check=True, capture_output=True)


async def _job_with_output(server: Server) -> str:
    async with client(server, "admin") as admin:
        job = await admin.create("head", "-c", str(_OUTPUT_BYTES), "/dev/zero")
        return (await admin.ended(job.id)).id


def _latencies(server: Server, job_id: str, case: str, attacks: Attacks) -> list[Result]:
    latencies, extents = _beside(server, job_id, attacks)
    return [
        Result(
            f"{call} beside {case}, p99",
            " and ".join(extents),
            [statistics.quantiles(taken, n=100)[98]],
            "ms",
            _BOUND_MS,
            at_least=False,
        )
        for call, taken in latencies.items()
    ]


def _beside(server: Server, job_id: str, attacks: Attacks) -> tuple[dict[str, list[float]], list[str]]:
    """Return the milliseconds of another client's calls during attacks, and the extents of the attacks."""
    with contextlib.ExitStack() as stack:
        attackers = [
            stack.enter_context(_program("attacker.py", each, server.address, server.certs, job_id))
            for each in attacks
        ]
        prober = stack.enter_context(
            _program("prober.py", server.address, server.certs, _OTHER, job_id, _SECONDS)
        )
        for each in (*attackers, prober):
            assert each.stdin
            each.stdin.write("\n")
            each.stdin.flush()
        assert prober.stdout
        latencies = json.loads(prober.stdout.readline())
        extents = [each.communicate()[0].strip() for each in attackers]
    return latencies, extents


@contextlib.contextmanager
def _program(name: str, *arguments: object) -> Iterator["subprocess.Popen[str]"]:
    """Start a program of this directory and wait until it is ready."""
    argv = [sys.executable, str(Path(__file__).with_name(name)), *map(str, arguments)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
            yield process
        except BaseException:
            process.kill()
            raise


def _left_behind(server: Server, name: str, before: Footprint) -> list[Result]:
    """Return what the server uses more than before when it has settled."""
    with contextlib.suppress(AssertionError):
        until(lambda: Footprint.of(server).is_within(before, mib=_ACCEPTED_MIB), _SETTLE_SECONDS)
    after = Footprint.of(server)
    return [
        Result(
            f"the server after the {name}, {unit}",
            f"before ({former:,.0f})",
            [now - former],
            "more",
            _ACCEPTED_MIB if unit == "MiB" else 0,
            at_least=False,
        )
        for unit, now, former in zip(
            ("descriptors", "threads", "processes", "MiB"), astuple(after), astuple(before), strict=True
        )
    ]
