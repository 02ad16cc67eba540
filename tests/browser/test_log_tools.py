"""Tests of the tools of a log view: search, positions, links, copies, downloads and truncated ranges."""

import re
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Locator, Page, expect

from dashboard import BIN, Dashboard
from live import Server
from live_client import Client, client
from tests.browser.conftest import OpenPage
from tests.browser.locators import button, log

SELECT_THREE_ROWS = """log => {
  const texts = log.querySelectorAll(".log-text");
  getSelection().setBaseAndExtent(texts[0].firstChild, 0, texts[2].firstChild, texts[2].textContent.length);
}"""
SMALLEST_LOG = 65_536


def search(page: Page) -> Locator:
    """Return the search field."""
    return page.get_by_role("searchbox", name="Search the log")


def matches(page: Page) -> Locator:
    """Return the text about the matches."""
    return page.get_by_role("status", name="Matches")


@pytest_asyncio.fixture(loop_scope="session")
async def counted(admin: Client, open_page: OpenPage) -> Page:
    """The log of a job that wrote 100 lines to stdout."""
    job, _ = await admin.run("seq", "-f", "line %.0f", "100")
    page = await open_page(f"/jobs/{job.id}?tab=log")
    await expect(page.get_by_text("100 lines")).to_be_visible()
    return page


async def test_search_counts_the_matches_of_the_whole_log(counted: Page) -> None:
    await button(counted, "First line").click()
    await search(counted).fill("LINE 7")
    await expect(matches(counted)).to_contain_text("1 of 11 matches")
    await expect(log(counted).get_by_text("line 7", exact=True)).to_be_visible()
    await button(counted, "Next match (n)").click()
    await expect(matches(counted)).to_contain_text("2 of 11 matches")
    await expect(log(counted).get_by_text("line 70", exact=True)).to_be_visible()
    await button(counted, "Aa").click()
    await expect(matches(counted)).to_contain_text("0 matches")


async def test_search_with_a_regular_expression(counted: Page) -> None:
    await button(counted, "Regex").click()
    await search(counted).fill(r"^line (7|8)\d?$")
    await expect(matches(counted)).to_contain_text("of 22 matches")
    await search(counted).fill("(")
    await expect(matches(counted)).to_contain_text("xpression")


async def test_search_finds_new_output(open_page: OpenPage, admin: Client, job_files: Path) -> None:
    go = job_files / "go"
    job = await admin.create("sh", "-c", f"echo needle; until [ -e {go} ]; do sleep 0.05; done; echo needle")
    page = await open_page(f"/jobs/{job.id}?tab=log")
    await search(page).fill("needle")
    await expect(matches(page)).to_contain_text("of 1 match")
    go.touch()
    await expect(matches(page)).to_contain_text("of 2 matches")


async def test_go_to_a_line(counted: Page) -> None:
    await button(counted, "Go to…").click()
    await counted.get_by_label("Line", exact=True).fill("3")
    await button(counted, "Go to the line").click()
    await expect(log(counted).get_by_label("Line 3, stdout")).to_be_visible()


async def test_go_to_a_time(open_page: OpenPage, admin: Client, job_files: Path) -> None:
    go = job_files / "go"
    script = f"seq 500; until [ -e {go} ]; do sleep 0.05; done; echo later; seq 500"
    job = await admin.create("sh", "-c", script)
    page = await open_page(f"/jobs/{job.id}?tab=log", timezone_id="UTC")
    await expect(page.get_by_text("500 lines")).to_be_visible()
    # The field has whole seconds.
    first = datetime.now(UTC).replace(microsecond=0)
    while datetime.now(UTC) < first + timedelta(seconds=1):
        await page.wait_for_timeout(50)
    go.touch()
    await admin.ended(job.id)
    await expect(page.get_by_text("1,001 lines")).to_be_visible()
    await button(page, "Go to…").click()
    await page.get_by_label("Time", exact=True).fill(f"{first + timedelta(seconds=1):%Y-%m-%dT%H:%M:%S}")
    await button(page, "Go to the time").click()
    await expect(log(page).get_by_text("later")).to_be_visible()


async def test_a_link_to_a_line(counted: Page, open_page: OpenPage) -> None:
    await button(counted, "First line").click()
    await log(counted).get_by_label("Line 5, stdout").click()
    await expect(counted).to_have_url(re.compile("offset="))
    other = await open_page(counted.url)
    await expect(log(other).locator(".target")).to_contain_text("line 5")
    await expect(log(other).get_by_label("Line 5, stdout")).to_be_visible()


async def test_copied_text_has_no_line_numbers(counted: Page) -> None:
    await counted.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await button(counted, "First line").click()
    await expect(log(counted).get_by_text("line 2", exact=True)).to_be_visible()
    await log(counted).evaluate(SELECT_THREE_ROWS)
    await counted.keyboard.press("ControlOrMeta+c")
    assert await counted.evaluate("navigator.clipboard.readText()") == "line 1\nline 2\nline 3"


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("Download the whole log", {"to-out", "to-err"}),
        ("Download stdout", {"to-out"}),
        ("Download stderr", {"to-err"}),
    ],
)
async def test_download(
    open_page: OpenPage, admin: Client, choice: str, expected: set[str], tmp_path: Path
) -> None:
    job, _ = await admin.run("sh", "-c", "echo to-out; echo to-err >&2")
    page = await open_page(f"/jobs/{job.id}?tab=log")
    await page.get_by_text("Download", exact=True).click()
    async with page.expect_download() as download:
        await button(page, choice).click()
    await (await download.value).save_as(tmp_path / "log")
    assert set((tmp_path / "log").read_text().splitlines()) == expected


async def test_a_truncated_range_is_shown(
    certs: Path, tmp_path: Path, resources: ExitStack, open_page: OpenPage
) -> None:
    small = {"JOBWORKERD_LOG_MAX_BYTES": str(SMALLEST_LOG)}
    server = resources.enter_context(Server.started(BIN, certs, tmp_path / "state", **small))
    dashboard = resources.enter_context(Dashboard.started(server))
    async with client(server, "admin") as admin:
        job, _ = await admin.run("seq", "100000")
        output = await admin.stream(job.id)
    # The server can still have sent trimmed output from its memory, so the two ranges only have the same end.
    (gap,) = output.truncated
    page = await open_page(f"/jobs/{job.id}?tab=log", at=dashboard)
    await button(page, "First line").click()
    await expect(log(page).locator(".gap")).to_contain_text(f" to {gap.to_offset}.")
