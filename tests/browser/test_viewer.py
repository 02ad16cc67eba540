"""Tests of a user with the role viewer: everything can be read, and nothing can be changed."""

from playwright.async_api import expect

from live_client import Client
from tests.browser.conftest import OpenPage
from tests.browser.locators import button, log, row


async def test_a_viewer_reads_jobs_and_logs(open_page: OpenPage, admin: Client) -> None:
    job = await admin.create("sh", "-c", "echo for everyone; exec sleep 600")
    page = await open_page("/", role="viewer")
    await expect(page.get_by_role("banner")).to_contain_text("viewer")
    await row(page, job.id).get_by_role("link").click()
    await expect(log(page)).to_contain_text("for everyone")


async def test_a_viewer_has_no_buttons_that_change_jobs(open_page: OpenPage, admin: Client) -> None:
    job = await admin.create("sleep", "600")
    page = await open_page("/", role="viewer")
    await expect(row(page, job.id)).to_be_visible()
    await expect(page.get_by_role("link", name="New job")).to_have_count(0)
    await expect(page.get_by_role("checkbox")).to_have_count(0)
    await page.goto(f"/jobs/{job.id}")
    await expect(log(page)).to_be_visible()
    for name in ("Stop", "Delete"):
        await expect(button(page, name)).to_have_count(0)
    await expect(page.get_by_role("link", name="Clone")).to_have_count(0)


async def test_a_viewer_learns_why_a_form_is_missing(open_page: OpenPage) -> None:
    page = await open_page("/create", role="viewer")
    await expect(page.get_by_text("You cannot create jobs")).to_be_visible()
    await expect(button(page, "Create job")).to_have_count(0)
