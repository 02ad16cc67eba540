"""Tests of the table of jobs: it is live, its filters are in the address, and it explains each job."""

import re
import uuid
from contextlib import ExitStack
from pathlib import Path

import pytest
from google.protobuf import duration_pb2
from playwright.async_api import Page, expect

from dashboard import BIN, Dashboard
from live import Server
from live_client import Client, client
from past_jobs import fill
from tests.browser.conftest import OpenPage
from tests.browser.locators import row, search, table

MANY = 10_000
HOUR = duration_pb2.Duration(seconds=3600)


@pytest.fixture
def label() -> dict[str, str]:
    """A label for the jobs of one test."""
    return {"test": uuid.uuid4().hex[:12]}


def query(label: dict[str, str]) -> str:
    """Return the query of the address that shows the jobs with a label."""
    return "?" + "&".join(f"label={key}%3D{value}" for key, value in label.items())


async def test_jobs_appear_and_change(open_page: OpenPage, admin: Client, label: dict[str, str]) -> None:
    page = await open_page(f"/{query(label)}")
    await expect(page.get_by_role("main")).to_contain_text("No job")
    job = await admin.create("sleep", "600", labels=label)
    await expect(row(page, job.id)).to_contain_text("Running", ignore_case=True)
    await expect(row(page, job.id)).to_contain_text("sleep 600")
    await expect(row(page, job.id)).to_contain_text(label["test"])
    await expect(row(page, job.id)).to_contain_text("admin")
    await admin.stop(job.id)
    await expect(row(page, job.id)).to_contain_text("Stopped", ignore_case=True)


async def test_a_failed_job_shows_its_exit_code(
    open_page: OpenPage, admin: Client, label: dict[str, str]
) -> None:
    job, _ = await admin.run("sh", "-c", "exit 3", labels=label)
    page = await open_page(f"/{query(label)}")
    await expect(row(page, job.id)).to_contain_text("Failed", ignore_case=True)
    await expect(row(page, job.id)).to_contain_text("3")


async def test_filters_are_in_the_address(open_page: OpenPage, admin: Client, label: dict[str, str]) -> None:
    kept = await admin.create("sleep", "601", labels=label)
    other, _ = await admin.run("true", labels=label)
    page = await open_page(f"/{query(label)}")
    await expect(row(page, other.id)).to_be_visible()
    await search(page).fill("601")
    await expect(row(page, other.id)).to_have_count(0)
    await expect(row(page, kept.id)).to_be_visible()

    same = await open_page(page.url)
    await expect(search(same)).to_have_value("601")
    await expect(row(same, kept.id)).to_be_visible()
    await expect(row(same, other.id)).to_have_count(0)


async def test_a_label_and_an_owner_filter_by_a_click(
    open_page: OpenPage, admin: Client, label: dict[str, str]
) -> None:
    job = await admin.create("sleep", "600", labels=label)
    other = await admin.create("sleep", "600")
    page = await open_page("/")
    await expect(row(page, other.id)).to_be_visible()
    await row(page, job.id).get_by_role("button", name=label["test"]).click()
    await expect(row(page, other.id)).to_have_count(0)
    await expect(row(page, job.id)).to_be_visible()
    await row(page, job.id).get_by_role("button", name="admin").click()
    await expect(page).to_have_url(re.compile(rf"label=test.*{label['test']}.*owner="))
    await page.go_back()
    await page.go_back()
    await expect(row(page, other.id)).to_be_visible()


async def test_a_limit_that_is_not_in_force_is_explained(
    open_page: OpenPage, admin: Client, label: dict[str, str]
) -> None:
    job = await admin.create("sleep", "600", labels=label, max_memory=64)
    unenforced = [each for each in job.applied_limits if not each.in_force and each.reason]
    page = await open_page(f"/{query(label)}")
    await expect(row(page, job.id)).to_be_visible()
    mark = row(page, job.id).get_by_role("button", name="not in force")
    if not unenforced:
        await expect(mark).to_have_count(0)
        return
    await mark.click()
    for limit in unenforced:
        await expect(page.get_by_role("dialog")).to_contain_text(limit.reason)


async def test_a_queued_job_shows_its_position(
    certs: Path, tmp_path: Path, resources: ExitStack, open_page: OpenPage
) -> None:
    server = resources.enter_context(Server.started(BIN, certs, tmp_path / "state", JOBWORKERD_MAX_JOBS="1"))
    dashboard = resources.enter_context(Dashboard.started(server))
    async with client(server, "admin") as admin:
        await admin.create("sleep", "600")
        first, second = [await admin.create("true", queue_timeout=HOUR) for _ in range(2)]
    page = await open_page("/", at=dashboard)
    await expect(row(page, first.id)).to_contain_text("1")
    await expect(row(page, second.id)).to_contain_text("2")


async def test_ten_thousand_jobs(
    certs: Path, tmp_path: Path, resources: ExitStack, open_page: OpenPage
) -> None:
    fill(tmp_path / "state/state", MANY)
    keep = {"JOBWORKERD_RETENTION_MAX_JOBS": str(2 * MANY)}
    server = resources.enter_context(Server.started(BIN, certs, tmp_path / "state", **keep))
    dashboard = resources.enter_context(Dashboard.started(server))
    page = await open_page("/", at=dashboard)
    await expect(table(page)).to_have_attribute("aria-rowcount", str(MANY + 1))
    assert await rows(page) < 200, "only the visible rows are elements"
    await table(page).evaluate("element => { element.scrollTop = element.scrollHeight }")
    await expect(table(page).locator(f"[aria-rowindex='{MANY + 1}']")).to_be_visible()
    await search(page).fill("no such command")
    await expect(page.get_by_role("main")).to_contain_text("No job")


async def rows(page: Page) -> int:
    """Return the number of rows that exist as elements."""
    return await table(page).get_by_role("row").count()
