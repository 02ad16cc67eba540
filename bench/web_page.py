"""Measures the dashboard: long logs in Chromium, and the memory of its proxy."""

import asyncio
import shlex
import statistics
import time

from browser_page import first_line_ms, heap_bytes, longest_freeze_ms, opened
from playwright.async_api import Page, expect
from proxied_streams import log_in, peak, read_stream
from result import Result

from dashboard import Dashboard
from jobworker.v1 import job_service_pb2
from live import Server, seen_by_jobs
from live_client import Client, client

MIB = 1 << 20
LINE_BYTES = 89
LINES = 1_000_000
BIG_LINES = 1_130_000
FLOOD_LINES = 6_000_000
STREAMS = 50
STREAM_MIB = 8
ROUNDS = 5
_WHEELS = 40
_WHEEL_PIXELS = 100_000
_PATIENCE_MS = 600_000


def web_page(server: Server) -> list[Result]:
    """Measure the page in Chromium, and the proxy with many streams."""
    return asyncio.run(_measured(server))


async def _measured(server: Server) -> list[Result]:
    expect.set_options(timeout=_PATIENCE_MS)
    async with client(server, "admin") as admin:
        with Dashboard.started(server) as proxy:
            results = [await _memory(proxy, admin)]
        with Dashboard.started(server) as proxy:
            async with opened(proxy) as page:
                results.append(await _first_line(page, admin, proxy.origin))
                results += await _long_log(page, admin, proxy.origin)
                results += await _follow(page, admin, proxy.origin)
    return results


def _lines(count: int) -> tuple[str, ...]:
    """Return a command that prints lines of 85 bytes."""
    line = "%07d worker-%02d processed batch %5d: 200 OK in %3d ms, no retry, cache hit, queue ok"
    script = f'for (n = 1; n <= {count}; n++) printf "{line}\\n", n, n % 16, n * 31 % 9973, n * 17 % 997'
    return "awk", f"BEGIN {{ {script} }}"


async def _ended(admin: Client, count: int) -> str:
    """Create a job that prints lines, wait for its end, and return its id."""
    job = await admin.create(*_lines(count), max_cpu=400)
    await admin.ended(job.id)
    return job.id


async def _first_line(page: Page, admin: Client, origin: str) -> Result:
    """Measure from opening a job's page to its first line on screen, for a long and a short log."""
    big, small = await _ended(admin, BIG_LINES), await _ended(admin, 1)
    shown: dict[str, list[float]] = {big: [], small: []}
    for _ in range(ROUNDS):
        for job_id, taken in shown.items():
            await page.goto(f"{origin}/jobs/{job_id}?tab=log")
            taken.append(await first_line_ms(page))
    against = f"a log of one line ({statistics.median(shown[small]):.0f} ms)"
    return Result("first line on screen, log of 100 MB", against, shown[big], "ms", 1_000, at_least=False)


async def _long_log(page: Page, admin: Client, origin: str) -> list[Result]:
    """Measure freezes and memory while a user reads and searches a long log."""
    job_id = await _ended(admin, LINES)
    freezes, heaps = [], []
    for _ in range(ROUNDS):
        await page.goto(f"{origin}/jobs/{job_id}?tab=log")
        await expect(page.get_by_text(f"{LINES:,} lines")).to_be_visible()
        await _read(page)
        freezes.append(await longest_freeze_ms(page))
        heaps.append(await heap_bytes(page) / MIB)
    case = f"{LINES:,} lines in the page"
    return [
        Result(f"{case}, longest freeze", "-", freezes, "ms", 100, at_least=False),
        Result(f"{case}, heap of the page", "-", heaps, "MiB", 32, at_least=False),
    ]


async def _read(page: Page) -> None:
    """Scroll through the log, jump to both ends, and search it."""
    await page.get_by_role("button", name="First line").click()
    await page.get_by_role("log", name="Output of the job").hover()
    for _ in range(_WHEELS):
        await page.mouse.wheel(0, _WHEEL_PIXELS)
    await page.get_by_role("button", name="Last line").click()
    await page.get_by_role("searchbox", name="Search the log").fill("no retry")
    await expect(page.get_by_role("status", name="Matches")).to_contain_text(f"of {LINES:,} matches")


async def _follow(page: Page, admin: Client, origin: str) -> list[Result]:
    """Measure a log that grows as fast as its job writes, while the page follows it."""
    rates, freezes = [], []
    with seen_by_jobs() as directory:
        for number in range(ROUNDS):
            go = directory / str(number)
            script = f"until [ -e {go} ]; do sleep 0.05; done; exec {shlex.join(_lines(FLOOD_LINES))}"
            job = await admin.create("sh", "-c", script, max_cpu=400)
            await page.goto(f"{origin}/jobs/{job.id}?tab=log")
            await expect(page.get_by_role("status", name="State of the log")).to_have_text("Live")
            begin = time.perf_counter()
            go.touch()
            await expect(page.get_by_text(f"{FLOOD_LINES:,} lines")).to_be_visible()
            rates.append(FLOOD_LINES * LINE_BYTES / (time.perf_counter() - begin) / 1e6)
            freezes.append(await longest_freeze_ms(page))
    against = f"{FLOOD_LINES:,} lines of {LINE_BYTES} bytes"
    return [
        Result("live log in the page", against, rates, "MB/s", 50),
        Result("live log in the page, longest freeze", against, freezes, "ms", 100, at_least=False),
    ]


async def _memory(proxy: Dashboard, admin: Client) -> Result:
    """Measure the memory of the proxy with many streams of one log."""
    job = await admin.create("head", "-c", str(STREAM_MIB * MIB), "/dev/zero", max_cpu=400)
    await admin.ended(job.id)
    request = job_service_pb2.GetJobsStreamRequest(id=job.id).SerializeToString()
    cookie = log_in(proxy)
    await read_stream(proxy, cookie, request)
    idle = proxy.process.memory_info().rss
    readers = asyncio.gather(*(read_stream(proxy, cookie, request) for _ in range(STREAMS)))
    used = await peak(lambda: proxy.process.memory_info().rss, readers)
    assert min(await readers) >= STREAM_MIB * MIB
    more = (used - idle) / MIB
    case = f"memory of the dashboard, {STREAMS} streams"
    return Result(case, f"after one stream ({idle / MIB:.0f} MiB)", [more], "MiB more", 64, at_least=False)
