"""Tests of the keyboard: the table, the log and the help work without a pointer."""

import re

from playwright.async_api import expect

from live_client import Client
from tests.browser.conftest import OpenPage
from tests.browser.locators import log, row, search, table


async def test_the_keys_of_the_table(open_page: OpenPage, admin: Client) -> None:
    labels = {"test": "keyboard"}
    oldest, middle, newest = [await admin.create("sleep", "600", labels=labels) for _ in range(3)]
    page = await open_page("/?label=test%3Dkeyboard")
    await expect(row(page, oldest.id)).to_be_visible()
    for key, job in (("g", newest), ("j", middle), ("G", oldest), ("k", middle)):
        await page.keyboard.press(key)
        await expect(row(page, job.id)).to_have_attribute("aria-selected", "true")
        await expect(table(page).locator("[aria-selected='true']")).to_have_count(1)
    await page.keyboard.press("/")
    await expect(search(page)).to_be_focused()
    await page.keyboard.type("gj")
    await expect(search(page)).to_have_value("gj")
    await page.keyboard.press("Escape")
    await search(page).fill("")
    await search(page).blur()
    await expect(row(page, middle.id)).to_be_visible()
    await page.keyboard.press("Enter")
    await expect(page).to_have_url(re.compile(f"/jobs/{middle.id}"))


async def test_the_keys_of_the_log(open_page: OpenPage, admin: Client) -> None:
    job, _ = await admin.run("seq", "1000")
    page = await open_page(f"/jobs/{job.id}?tab=log")
    await expect(log(page).get_by_label("Line 1000, stdout")).to_be_visible()
    await page.keyboard.press("g")
    await expect(log(page).get_by_label("Line 1, stdout")).to_be_in_viewport()
    for _ in range(3):
        await page.keyboard.press("j")
    await expect(log(page).get_by_label("Line 1, stdout")).not_to_be_in_viewport()
    await page.keyboard.press("G")
    await expect(log(page).get_by_label("Line 1000, stdout")).to_be_in_viewport()
    await page.keyboard.press("/")
    await page.keyboard.type("^5")
    await expect(page.get_by_role("searchbox", name="Search the log")).to_have_value("^5")


async def test_the_help_lists_the_keys_of_the_view(open_page: OpenPage, admin: Client) -> None:
    page = await open_page("/")
    help_dialog = page.get_by_role("dialog", name="Keyboard shortcuts")
    await page.keyboard.press("?")
    await expect(help_dialog).to_contain_text("Next job")
    await page.keyboard.press("Escape")
    await expect(help_dialog).to_have_count(0)
    job, _ = await admin.run("true")
    await page.goto(f"/jobs/{job.id}")
    await expect(log(page)).to_be_visible()
    await page.keyboard.press("?")
    await expect(help_dialog).to_contain_text("Search the log")


async def test_a_job_is_reached_with_the_tab_key(open_page: OpenPage, admin: Client) -> None:
    job, _ = await admin.run("true", labels={"test": "tab-key"})
    page = await open_page("/?label=test%3Dtab-key")
    await expect(row(page, job.id)).to_be_visible()
    link = row(page, job.id).get_by_role("link")
    for _ in range(60):
        await page.keyboard.press("Tab")
        if await link.evaluate("element => element === document.activeElement"):
            return
    raise AssertionError("the Tab key does not reach the job")
