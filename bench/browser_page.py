"""A page of the dashboard in Chromium, which notes its first line and its longest freeze."""

import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from playwright.async_api import Page, async_playwright

from dashboard import Dashboard

_PROBE = """
window.probe = {firstLine: 0, longest: 0};
new PerformanceObserver((list) => {
  for (const task of list.getEntries()) probe.longest = Math.max(probe.longest, task.duration);
}).observe({type: "longtask", buffered: true});
new MutationObserver((_, observer) => {
  if (!document.querySelector(".log-row")) return;
  observer.disconnect();
  // The frame after the next one begins when this change is on screen.
  requestAnimationFrame(() => requestAnimationFrame(() => { probe.firstLine = performance.now(); }));
}).observe(document, {subtree: true, childList: true});
"""


@asynccontextmanager
async def opened(dashboard: Dashboard) -> AsyncIterator[Page]:
    """Start Chromium, and log in."""
    chromium = subprocess.check_output([Path(__file__).parents[1] / "tools/chromium"], text=True).strip()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=["--disable-gpu"])
        page = await browser.new_page(viewport={"width": 1280, "height": 800})
        await page.add_init_script(_PROBE)
        await page.goto(dashboard.login)
        await page.wait_for_url(f"{dashboard.origin}/")
        yield page
        await browser.close()


async def first_line_ms(page: Page) -> float:
    """Wait for the first line of the log, and return the milliseconds since the navigation."""
    # The policy of the page forbids Playwright's `wait_for_function`.
    while not (shown := await page.evaluate("probe.firstLine")):
        await page.wait_for_timeout(10)
    return float(shown)


async def longest_freeze_ms(page: Page) -> float:
    """Return the milliseconds of the longest task of the main thread; 0 if none took longer than 50 ms."""
    return float(await page.evaluate("probe.longest"))


async def heap_bytes(page: Page) -> int:
    """Return the bytes that the main thread of the page uses after a garbage collection."""
    session = await page.context.new_cdp_session(page)
    await session.send("HeapProfiler.collectGarbage")
    return int((await session.send("Runtime.getHeapUsage"))["usedSize"])
