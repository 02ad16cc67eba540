"""Takes the pictures of docs/dashboard.md for `make screenshots`."""

from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests.browser.conftest import OpenPage
from tests.browser.demo import JOBS, demo
from tests.browser.locators import table

DESKTOP = {"width": 1180, "height": 720}
PHONE = {"width": 360, "height": 640}


async def test_pictures(request: pytest.FixtureRequest, open_page: OpenPage, resources: ExitStack) -> None:
    """One test takes all pictures, since the demo takes seconds to start."""
    folder: Path | None = request.config.getoption("--screenshots")
    if folder is None:
        pytest.skip("make screenshots takes the pictures")
    page = await open_page("/", at=resources.enter_context(demo()), viewport=DESKTOP, color_scheme="light")
    await expect(table(page)).to_have_attribute("aria-rowcount", str(JOBS + 1))
    await take(page, folder / "jobs.png")
    await page.emulate_media(color_scheme="dark")
    await take(page, folder / "jobs-dark.png")


async def take(page: Page, path: Path) -> None:
    """Take a picture of what the window shows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    await page.screenshot(path=path, animations="disabled", caret="hide")
