"""The page of one job at a gateway, in Chromium: its log, its node, its terminal and its end."""

import re
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Locator, Page, async_playwright, expect

from dashboard import Dashboard
from jobworker.v1 import job_pb2
from live_client import Client
from tests.browser.faults import Faults
from tests.browser.locators import button, log, log_state, row
from tests.browser.scripts import waiting_for
from tests.cluster.calls import on
from tests.cluster.whole import Cluster

ROOT = Path(__file__).parents[2]
TERMINAL = job_pb2.JobTerminal(columns=80, rows=24)

# Milliseconds. The browser shares its cores with the cluster.
expect.set_options(timeout=60_000)


@pytest.fixture(scope="module")
def chromium() -> str:
    """The path of the browser."""
    found = subprocess.run([ROOT / "tools/chromium"], check=True, capture_output=True, text=True)
    return found.stdout.strip()


@pytest.fixture
async def page(cluster: Cluster, chromium: str) -> AsyncIterator[Page]:
    """A page of the dashboard of the first gateway, after the login of an admin."""
    with Dashboard.started(cluster.gateway.server) as dashboard:
        faults = Faults({dashboard.origin})
        async with (
            async_playwright() as playwright,
            await playwright.chromium.launch(executable_path=chromium, args=["--disable-gpu"]) as browser,
            await browser.new_context(base_url=dashboard.origin) as context,
        ):
            opened = await context.new_page()
            await opened.goto(dashboard.login)
            await opened.wait_for_url(f"{dashboard.origin}/")
            # Before the login, the page has asked for its session and got 401.
            faults.watch(context)
            yield opened
        assert not faults.unexpected()


def _heading(page: Page) -> Locator:
    return page.get_by_role("heading", level=1)


async def _expect_node(page: Page, node: str) -> None:
    """Look at the record, and follow the link to the jobs of the node."""
    await page.get_by_role("tab", name="Record").click()
    link = page.get_by_role("region", name="Command").get_by_role("link", name=node)
    await expect(page.get_by_role("list", name="Timeline")).to_contain_text(f"on {node}")
    await link.click()
    await expect(page).to_have_url(re.compile(rf"/\?node={node}$"))


async def test_a_running_job_has_a_live_log_and_a_button_to_stop_it(
    page: Page, admin: Client, cluster: Cluster
) -> None:
    go = cluster.runs.with_name("go-of-the-page")
    job = await admin.create("sh", "-c", waiting_for(go), node_selector=on("node-2"))
    await page.goto(f"/jobs/{job.id}")
    await expect(log(page)).to_contain_text("ready")
    await expect(log_state(page)).to_have_text("Live")
    go.touch()
    await expect(log(page)).to_contain_text("released")
    await _expect_node(page, "node-2")
    await row(page, job.id).get_by_role("link").first.click()
    await expect(_heading(page)).to_contain_text("Running")
    await button(page, "Stop").click()
    await button(page, "Stop the job").click()
    await expect(_heading(page)).to_contain_text("Stopped")
    await expect(log_state(page)).to_contain_text("Stopped")
    await expect(log(page)).to_contain_text("released")
    assert (await admin.ended(job.id)).status == job_pb2.JOB_STATUS_STOPPED


async def test_a_final_job_has_its_log_and_its_result(page: Page, admin: Client) -> None:
    script = "echo out; echo err >&2; exit 3"
    job, _ = await admin.run("sh", "-c", script, node_selector=on("node-3"))
    await page.goto(f"/jobs/{job.id}")
    await expect(log(page)).to_contain_text("out")
    await expect(log(page)).to_contain_text("err")
    await expect(log_state(page)).to_contain_text("Failed")
    await expect(button(page, "Stop")).to_have_count(0)
    await page.get_by_role("tab", name="Record").click()
    await expect(page.get_by_role("region", name="Result")).to_contain_text("Exit code3")
    await _expect_node(page, "node-3")


async def test_a_user_types_into_the_terminal_of_a_job(page: Page, admin: Client) -> None:
    job = await admin.create("sh", "-i", env={"PS1": "% "}, terminal=TERMINAL, stop_signal="SIGHUP")
    await admin.started(job.id)
    await page.goto(f"/jobs/{job.id}?tab=attach")
    session = page.get_by_role("tabpanel").get_by_role("status")
    await expect(session).to_have_text("Attached")
    terminal = page.get_by_role("region", name="Terminal").locator(".xterm-rows")
    await page.keyboard.type("echo $((40 + 2))\n")
    await expect(terminal).to_contain_text("42")
    await page.keyboard.type("exit 4\n")
    await expect(session).to_have_text("The job has ended. exited with code 4")
    assert (await admin.ended(job.id)).exit_code == 4
