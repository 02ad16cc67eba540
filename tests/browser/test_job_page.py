"""Tests of the page of one job: its record, its usage and what changes under the page."""

import re

from google.protobuf import duration_pb2
from playwright.async_api import expect

from jobworker.v1 import job_service_pb2
from live_client import Client
from tests.browser.conftest import OpenPage

HOUR = duration_pb2.Duration(seconds=3600)
TICKING = "while :; do sleep 0.05; done"

DRAWN = """canvas => {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  return data.some(Boolean);
}"""


async def test_the_record_has_the_command_the_result_and_the_labels(
    open_page: OpenPage, admin: Client
) -> None:
    job, _ = await admin.run("sh", "-c", "exit 3", labels={"team": "data"}, stop_signal="SIGINT")
    page = await open_page(f"/jobs/{job.id}?tab=record")
    main = page.get_by_role("main")
    await expect(main).to_contain_text("sh -c 'exit 3'")
    for text in (job.id, job.owner, "SIGINT", job.working_directory, job.termination.message):
        await expect(main).to_contain_text(text)
    await expect(page.get_by_role("region", name="Result")).to_contain_text("Exit code3")
    await page.get_by_role("link", name="team=data").click()
    await expect(page).to_have_url(re.compile(r"/\?label=team%3Ddata$"))


async def test_a_command_cannot_deceive_the_reader(open_page: OpenPage, admin: Client) -> None:
    job, _ = await admin.run("true", "\u202etxt.exe", "<img src=x onerror=alert(1)>")
    page = await open_page(f"/jobs/{job.id}?tab=record")
    shown = r"true '\u202etxt.exe' '<img src=x onerror=alert(1)>'"
    await expect(page.get_by_role("heading", level=1)).to_contain_text(shown)
    await expect(page.get_by_role("region", name="Command")).to_contain_text(shown)
    await expect(page).to_have_title(f"{shown} · jobworker")


async def test_the_page_follows_the_job_to_its_end(open_page: OpenPage, admin: Client) -> None:
    job = await admin.create("sleep", "600", timeout=HOUR)
    page = await open_page(f"/jobs/{job.id}?tab=record")
    timeline = page.get_by_role("list", name="Timeline").get_by_role("listitem")
    await expect(timeline).to_contain_text(["Created", "Started", "Times out"])
    await admin.stop(job.id)
    await expect(timeline).to_contain_text(["Created", "Started", "Stopped"])
    await expect(page.get_by_role("heading", level=1)).to_contain_text("Stopped")
    await expect(page.get_by_role("region", name="Result")).to_contain_text("SIGTERM")


async def test_limits_are_shown_against_the_usage(open_page: OpenPage, admin: Client) -> None:
    job = await admin.create("sh", "-c", TICKING, max_cpu=50, max_memory=64)
    page = await open_page(f"/jobs/{job.id}?tab=usage")
    limits = page.get_by_role("table", name="Limits")
    await expect(limits.get_by_role("row", name="CPU")).to_contain_text("50 % of one core")
    await expect(limits.get_by_role("meter", name="CPU in use")).to_be_visible()
    for limit in job.applied_limits:
        await expect(limits).to_contain_text(limit.file if limit.in_force else limit.reason)


async def test_charts_are_drawn_while_the_job_runs(open_page: OpenPage, admin: Client) -> None:
    job = await admin.create("sh", "-c", TICKING)
    page = await open_page(f"/jobs/{job.id}?tab=usage")
    chart = page.get_by_role("region", name="CPU")
    await expect(chart).to_contain_text(re.compile(r"\d %"))
    await expect(page.get_by_role("img", name="CPU")).to_be_visible()
    canvas = await chart.locator("canvas").element_handle()
    await page.wait_for_function(DRAWN, arg=canvas)
    await page.keyboard.press("2")
    await expect(page.get_by_role("tab", name="Record")).to_have_attribute("aria-selected", "true")
    await page.keyboard.press("3")
    await expect(chart).to_contain_text(re.compile(r"\d %"))


async def test_a_job_that_has_ended_has_its_totals(open_page: OpenPage, admin: Client) -> None:
    job, _ = await admin.run("true")
    page = await open_page(f"/jobs/{job.id}?tab=usage")
    await expect(page.get_by_role("region", name="Used in total")).to_contain_text("Run time")
    await expect(page.get_by_role("img")).to_have_count(0)


async def test_a_job_that_is_deleted_under_the_page(open_page: OpenPage, admin: Client) -> None:
    job, _ = await admin.run("true")
    page = await open_page(f"/jobs/{job.id}?tab=record")
    await expect(page.get_by_role("region", name="Command")).to_be_visible()
    await admin.stub.DeleteJob(job_service_pb2.DeleteJobRequest(id=job.id), timeout=30)
    await expect(page.get_by_role("alert")).to_contain_text("This job was deleted")
    await page.reload()
    await expect(page.get_by_role("main")).to_contain_text("This job does not exist")


async def test_a_viewer_has_no_buttons_that_change_a_job(open_page: OpenPage, admin: Client) -> None:
    job = await admin.create("sleep", "600")
    page = await open_page(f"/jobs/{job.id}?tab=record")
    await expect(page.get_by_role("button", name="Stop")).to_be_visible()
    viewed = await open_page(f"/jobs/{job.id}?tab=record", "viewer")
    await expect(viewed.get_by_role("region", name="Command")).to_be_visible()
    await expect(viewed.get_by_role("button", name="Stop")).to_have_count(0)
