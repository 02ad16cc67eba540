"""Tests that output and fields of a job are only text: markup, links, directions and endless lines."""

import re

from playwright.async_api import Page, expect

from live_client import Client
from tests.browser.conftest import OpenPage
from tests.browser.locators import log

MARKUP = "<script>window.hacked=1</script><img src=x onerror='window.hacked=1'><b>bold</b>"
LINK = r"\033]8;;javascript:window.\150acked=1\033\\click me\033]8;;\033\\"
TITLE = r"\033]0;\150acked\007"
"""Sets the title of a terminal. The command, which is in the title of the page, has another text."""
BIDI = r"\342\200\256gnissecorp\342\200\254 \342\201\246isolated\342\201\251"
"""A right-to-left override that is closed, and an isolate."""
LONG_LINE_BYTES = 10_000_000


async def assert_harmless(page: Page) -> None:
    """Check that no output has become a part of the page."""
    assert await page.evaluate("window.hacked") is None
    assert await page.locator("main :is(script, img, iframe, object)").count() == 0
    assert await page.locator("a[href^='javascript:' i]").count() == 0


async def test_markup_in_the_output_is_text(open_page: OpenPage, admin: Client) -> None:
    job, _ = await admin.run("printf", "%s\n", MARKUP)
    page = await open_page(f"/jobs/{job.id}?tab=log")
    await expect(log(page)).to_contain_text(MARKUP)
    await assert_harmless(page)


async def test_escape_sequences_make_no_link_and_no_title(open_page: OpenPage, admin: Client) -> None:
    job, _ = await admin.run("printf", f"{TITLE}{LINK}\n")
    page = await open_page(f"/jobs/{job.id}?tab=log")
    await expect(log(page)).to_contain_text("click me")
    await expect(log(page)).not_to_contain_text("javascript:")
    assert "hacked" not in await page.title()
    await assert_harmless(page)


async def test_a_direction_ends_with_its_line(open_page: OpenPage, admin: Client) -> None:
    job, _ = await admin.run("printf", rf"{BIDI}\n\342\200\256open override\nnext line\n")
    page = await open_page(f"/jobs/{job.id}?tab=log")
    await expect(log(page)).to_contain_text("next line")
    await assert_harmless(page)


async def test_a_line_without_end(open_page: OpenPage, admin: Client) -> None:
    script = f"head -c {LONG_LINE_BYTES} /dev/zero | tr '\\0' x; echo; echo the end"
    job, _ = await admin.run("sh", "-c", script)
    page = await open_page(f"/jobs/{job.id}?tab=log")
    await expect(log(page)).to_contain_text("the end")
    await page.get_by_role("button", name="Wrap").click()
    await expect(log(page)).to_be_visible()
    await assert_harmless(page)


async def test_markup_in_the_fields_of_a_job_is_text(open_page: OpenPage, admin: Client) -> None:
    job = await admin.create("sh", "-c", "exit 0", MARKUP, labels={"note": "<img src=x onerror=hacked>"})
    for path in ("/", f"/jobs/{job.id}?tab=record"):
        page = await open_page(path)
        await expect(page.get_by_role("main")).to_contain_text("onerror")
        await assert_harmless(page)
    form = await open_page(f"/create?clone={job.id}")
    await expect(form.get_by_label("Command", exact=True)).to_have_value(re.compile("onerror"))
    await assert_harmless(form)
