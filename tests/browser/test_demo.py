"""Test of `make demo-dashboard`: ten jobs of every kind, and nothing is left after Ctrl-C."""

from contextlib import ExitStack

from playwright.async_api import expect

from tests.browser.conftest import OpenPage
from tests.browser.demo import JOBS, demo
from tests.browser.locators import table

STATES = ["Running", "Queued", "Completed", "Failed", "Stopped"]


async def test_the_demo_shows_ten_jobs_and_ends_cleanly(open_page: OpenPage, resources: ExitStack) -> None:
    page = await open_page("/", at=resources.enter_context(demo()))
    await expect(table(page)).to_have_attribute("aria-rowcount", str(JOBS + 1))
    for state in STATES:
        await expect(table(page).get_by_text(state).first).to_be_visible()
