"""Tests of a log view beyond the screen: keys, large selections, and expressions that take too long."""

import re

import pytest_asyncio
from playwright.async_api import Page, expect

from live_client import Client
from tests.browser.conftest import OpenPage
from tests.browser.locators import button, log

LINES = 500
OUTPUT = "".join(f"line {number}\n" for number in range(1, LINES + 1))


@pytest_asyncio.fixture(loop_scope="session")
async def long(admin: Client, open_page: OpenPage) -> Page:
    """The first lines of a log that is longer than the screen."""
    job, _ = await admin.run("seq", "-f", "line %.0f", str(LINES))
    page = await open_page(f"/jobs/{job.id}?tab=log")
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await expect(page.get_by_text(f"{LINES} lines")).to_be_visible()
    await button(page, "First line").click()
    await expect(log(page).get_by_text("line 1", exact=True)).to_be_visible()
    return page


async def copied(page: Page) -> str:
    """Copy the selection and return the text. Text that the worker reads first arrives later."""
    await page.evaluate("navigator.clipboard.writeText('')")
    await page.keyboard.press("ControlOrMeta+c")
    text = ""
    while not text:
        text = await page.evaluate("navigator.clipboard.readText()")
    return text


async def test_the_whole_log_can_be_copied(long: Page) -> None:
    await log(long).focus()
    await long.keyboard.press("ControlOrMeta+a")
    assert (await copied(long)).splitlines() == OUTPUT.splitlines()


async def test_a_selection_keeps_its_start_while_the_log_scrolls(long: Page) -> None:
    start = await log(long).get_by_text("line 3", exact=True).bounding_box()
    assert start
    await long.mouse.move(start["x"] + 1, start["y"] + start["height"] / 2)
    await long.mouse.down()
    await long.mouse.move(start["x"] + 30, start["y"] + 50)
    while await log(long).get_by_text("line 3", exact=True).count():
        await long.mouse.wheel(0, 200)
    await long.mouse.move(start["x"] + 30, start["y"] + 90, steps=2)
    await long.mouse.up()
    lines = (await copied(long)).splitlines()
    assert lines[:-1] == OUTPUT.splitlines()[2 : len(lines) + 1]
    assert len(lines) > 10


async def test_keys_move_through_the_log(long: Page) -> None:
    first = log(long).get_by_text("line 1", exact=True)
    last = log(long).get_by_text(f"line {LINES}", exact=True)
    await long.keyboard.press("G")
    await expect(last).to_be_visible()
    await long.keyboard.press("g")
    await expect(first).to_be_visible()
    await long.keyboard.press("PageDown")
    await expect(first).not_to_be_visible()
    await long.keyboard.press("PageUp")
    await expect(first).to_be_visible()
    for _ in range(2):
        await long.keyboard.press("j")
    await expect(first).not_to_be_in_viewport()
    for _ in range(2):
        await long.keyboard.press("k")
    await expect(first).to_be_in_viewport()


async def test_keys_change_the_view(long: Page) -> None:
    for key, name in (("w", "Wrap"), ("t", "Timestamps")):
        await long.keyboard.press(key)
        await expect(button(long, name)).to_have_attribute("aria-pressed", "true")
    await long.keyboard.press("/")
    await long.keyboard.type("line 2")
    matches = long.get_by_role("status", name="Matches")
    await expect(matches).to_contain_text("1 of 111 matches")
    await long.keyboard.press("Enter")
    await expect(matches).to_contain_text("2 of 111 matches")
    await long.keyboard.press("Escape")
    await expect(matches).to_be_empty()


async def test_an_expression_that_takes_too_long_is_ended(admin: Client, open_page: OpenPage) -> None:
    job, _ = await admin.run("echo", "x" * 60)
    page = await open_page(f"/jobs/{job.id}?tab=log")
    await expect(page.get_by_text("1 line,")).to_be_visible()
    await button(page, "Regex").click()
    await page.get_by_role("searchbox", name="Search the log").fill("(x+x+)+y")
    ended = page.get_by_role("status", name="Matches")
    await expect(ended).to_contain_text(re.compile("took more than 5 s"), timeout=30_000)
    await button(page, "Timestamps").click()
    await expect(log(page).locator("time")).to_be_visible()
