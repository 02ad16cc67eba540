"""Tests of every view in both themes and on a phone: accessibility, contrast and width."""

import pytest
from playwright.async_api import Page, expect

from live_client import Client
from tests.browser.accessibility import overflow, violations
from tests.browser.conftest import OpenPage

PHONE = {"width": 360, "height": 740}


async def path_of(view: str, admin: Client) -> str:
    """Return the path of a view; {id} stands for a job."""
    if "{id}" not in view:
        return view
    job = await admin.create("sh", "-c", r"printf '\033[31mred\033[0m\n'; exec sleep 600")
    return view.replace("{id}", job.id)


async def settled(page: Page) -> None:
    """Wait until the view has replaced its first, empty frame."""
    await expect(page.get_by_role("main")).not_to_have_attribute("aria-busy", "true")
    await expect(page.get_by_role("heading", level=1)).to_have_count(1)


VIEWS = ["/", "/create", "/jobs/{id}?tab=log", "/jobs/{id}?tab=record", "/jobs/{id}?tab=usage"]


@pytest.mark.parametrize("view", VIEWS)
async def test_a_view_meets_wcag_aa_in_both_themes(view: str, open_page: OpenPage, admin: Client) -> None:
    page = await open_page(await path_of(view, admin), color_scheme="light")
    await settled(page)
    assert await violations(page) == []
    await page.emulate_media(color_scheme="dark")
    assert await violations(page) == []


@pytest.mark.parametrize("view", VIEWS)
async def test_a_view_fits_on_a_phone(view: str, open_page: OpenPage, admin: Client) -> None:
    page = await open_page(await path_of(view, admin), viewport=PHONE)
    await settled(page)
    assert await overflow(page) == 0
    assert await violations(page) == []


async def test_the_theme_is_kept(open_page: OpenPage) -> None:
    page = await open_page("/", color_scheme="light")
    light = await background(page)
    await page.get_by_role("button", name="Theme: system").click()
    await page.get_by_role("button", name="Theme: light").click()
    dark = await background(page)
    assert dark != light
    await page.reload()
    await expect(page.get_by_role("button", name="Theme: dark")).to_be_visible()
    assert await background(page) == dark


async def background(page: Page) -> str:
    """Return the colour behind the page."""
    return str(await page.evaluate("getComputedStyle(document.body).backgroundColor"))
