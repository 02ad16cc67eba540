"""Takes the pictures of docs/dashboard.md for `make screenshots`."""

from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.async_api import Locator, Page, ViewportSize, expect

from tests.browser.conftest import OpenPage
from tests.browser.demo import JOBS, demo
from tests.browser.locators import button, log, table

DESKTOP = ViewportSize(width=1180, height=560)
PHONE = ViewportSize(width=360, height=560)
CHART_SECONDS = 20
"""Time for the charts of the usage, which begin when the page opens."""


@pytest.mark.timeout(400)
async def test_pictures(request: pytest.FixtureRequest, open_page: OpenPage, resources: ExitStack) -> None:
    """One test takes all pictures, since the demo takes seconds to start."""
    folder: Path | None = request.config.getoption("--screenshots")
    if folder is None:
        pytest.skip("make screenshots takes the pictures")
    page = await open_page("/", at=resources.enter_context(demo()), viewport=DESKTOP, color_scheme="light")
    await expect(table(page)).to_have_attribute("aria-rowcount", str(JOBS + 1))
    await expect(row_of(page, "export").get_by_role("gridcell").last).to_contain_text("MiB")
    await expect(row_of(page, "serve").get_by_role("gridcell").last).to_contain_text("B")
    await take(page, folder / "jobs.png")
    await take_log(page, folder)
    await take_usage(page, folder)
    await take_terminal(page, folder)
    await take_phone(page, folder)


async def take(page: Page, path: Path) -> None:
    """Take a picture of what the window shows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    await page.screenshot(path=path, animations="disabled", caret="hide")


def row_of(page: Page, task: str) -> Locator:
    """Return the row of the job with a task."""
    label = page.get_by_role("button", name=f"task={task}")
    return table(page).get_by_role("row").filter(has=label)


async def open_job(page: Page, task: str) -> None:
    """Open the page of the job with a task."""
    await page.goto("/")
    await row_of(page, task).get_by_role("link").click()
    await expect(log(page)).to_be_visible()


async def take_log(page: Page, folder: Path) -> None:
    """Take a live log with colours, and a search in a long log, in the dark theme."""
    await open_job(page, "serve")
    await expect(log(page)).to_contain_text("ERROR")
    await take(page, folder / "log.png")
    await page.emulate_media(color_scheme="dark")
    await open_job(page, "export")
    await button(page, "Regex").click()
    await page.get_by_role("searchbox", name="Search the log").fill("row 9+0+:")
    await expect(page.get_by_role("status", name="Matches")).to_contain_text("matches")
    await button(page, "Timestamps").click()
    # The highlights are drawn after the rows. The policy of the page forbids `wait_for_function`.
    while not await page.evaluate("CSS.highlights.get('log-current-match')?.size"):
        await page.wait_for_timeout(50)
    await take(page, folder / "search.png")
    await page.emulate_media(color_scheme="light")


async def take_usage(page: Page, folder: Path) -> None:
    """Take the charts of a job's usage."""
    await open_job(page, "train")
    await page.get_by_role("tab", name="Usage").click()
    await page.wait_for_timeout(CHART_SECONDS * 1000)
    await take(page, folder / "usage.png")


async def take_terminal(page: Page, folder: Path) -> None:
    """Take the terminal of an interactive shell."""
    await open_job(page, "shell")
    await page.get_by_role("tab", name="Attach").click()
    await expect(page.get_by_text("Attached", exact=True)).to_be_visible()
    await page.keyboard.type("ls -l --color /usr\n")
    await expect(page.get_by_role("region", name="Terminal")).to_contain_text("share")
    await take(page, folder / "attach.png")


async def take_phone(page: Page, folder: Path) -> None:
    """Take the table at the width of a phone, in the dark theme."""
    await page.emulate_media(color_scheme="dark")
    await page.set_viewport_size(PHONE)
    await page.goto("/")
    await expect(table(page)).to_have_attribute("aria-rowcount", str(JOBS + 1))
    await take(page, folder / "phone.png")
