"""Takes the pictures of docs/dashboard.md for `make screenshots`."""

import asyncio
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from fake_gateway import OWNER, FakeGateway
from playwright.async_api import Locator, Page, ViewportSize, expect

from dashboard import Dashboard
from live import Server
from scripted import JOB_ID
from tests.browser.conftest import OpenPage
from tests.browser.demo import JOBS, demo
from tests.browser.locators import button, log, table

DESKTOP = ViewportSize(width=1180, height=560)
PHONE = ViewportSize(width=360, height=560)
_DAY_SECONDS = 86_400
CHART_SECONDS = 20
"""Time for the charts of the usage, which begin when the page opens."""


@pytest.mark.timeout(400)
async def test_pictures(request: pytest.FixtureRequest, open_page: OpenPage, resources: ExitStack) -> None:
    """One test takes all pictures of the demo, which takes seconds to start."""
    folder: Path | None = request.config.getoption("--screenshots")
    if folder is None:
        pytest.skip("make screenshots takes the pictures")
    page = await open_page("/", at=resources.enter_context(demo()), viewport=DESKTOP, color_scheme="light")
    await expect(table(page)).to_have_attribute("aria-rowcount", str(JOBS + 1))
    await expect(row_of(page, "export").get_by_role("gridcell").last).to_contain_text("MiB")
    await expect(row_of(page, "serve").get_by_role("gridcell").last).to_contain_text("B")
    await take(page, folder / "jobs.png")
    await take_log(page, folder)
    await take_usage(page, folder)
    await take_terminal(page, folder)
    await take_phone(page, folder)


async def test_picture_of_nodes(
    request: pytest.FixtureRequest, open_page: OpenPage, certs: Path, resources: ExitStack
) -> None:
    """The nodes are those of a scripted gateway, because a cluster needs root and a control plane."""
    folder: Path | None = request.config.getoption("--screenshots")
    if folder is None:
        pytest.skip("make screenshots takes the pictures")
    async with FakeGateway.started(certs) as gateway:
        add_nodes(gateway)
        # In a thread, because the gateway answers in this loop.
        starting = Dashboard.started(Server(gateway.address, certs))
        dashboard = await asyncio.to_thread(resources.enter_context, starting)
        page = await open_page("/nodes", at=dashboard, viewport=DESKTOP, color_scheme="light")
        await expect(page.get_by_role("row", name="node4")).to_contain_text("Not ready")
        await take(page, folder / "nodes.png")
        await page.context.close()


def add_nodes(gateway: FakeGateway) -> None:
    """Add nodes in all states, and a job."""
    for number, (zone, disk) in enumerate([("a", "ssd"), ("b", "ssd"), ("a", "hdd"), ("b", "hdd")], start=1):
        node = gateway.cluster.add(f"node{number}", ready=number < 4, schedulable=number != 3)
        node.address = f"node{number}.example.org:50051"
        node.labels["zone"], node.labels["disk"] = zone, disk
        node.capacity.cpu, node.capacity.memory = 1_600, 65_536
        node.allocated.cpu, node.allocated.memory = 350 * number, 7_168 * number
        node.allocated.jobs = 3 * number
        node.create_time.FromSeconds(int(time.time()) - 30 * _DAY_SECONDS)
    gateway.cluster.nodes[-1].conditions[0].message = "the lease of the node has ended"
    gateway.jobs.add(JOB_ID, node="node1", owner=OWNER)


async def take(page: Page, path: Path) -> None:
    """Take a picture of what the window shows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    await page.screenshot(path=path, animations="disabled", caret="hide")


def row_of(page: Page, task: str) -> Locator:
    """Return the row of the job with a task."""
    label = page.get_by_role("button", name=f"task={task}")
    return table(page).get_by_role("row").filter(has=label)


async def open_job(page: Page, task: str) -> None:
    """Open the page of the job with a task."""
    await page.goto("/")
    await row_of(page, task).get_by_role("link").click()
    await expect(log(page)).to_be_visible()


async def take_log(page: Page, folder: Path) -> None:
    """Take a live log with colours, and a search in a long log, in the dark theme."""
    await open_job(page, "serve")
    await expect(log(page)).to_contain_text("ERROR")
    await take(page, folder / "log.png")
    await page.emulate_media(color_scheme="dark")
    await open_job(page, "export")
    await button(page, "Regex").click()
    await page.get_by_role("searchbox", name="Search the log").fill("row 9+0+:")
    await expect(page.get_by_role("status", name="Matches")).to_contain_text("matches")
    await button(page, "Timestamps").click()
    # The highlights are drawn after the rows. The policy of the page forbids `wait_for_function`.
    while not await page.evaluate("CSS.highlights.get('log-current-match')?.size"):
        await page.wait_for_timeout(50)
    await take(page, folder / "search.png")
    await page.emulate_media(color_scheme="light")


async def take_usage(page: Page, folder: Path) -> None:
    """Take the charts of a job's usage."""
    await open_job(page, "train")
    await page.get_by_role("tab", name="Usage").click()
    await page.wait_for_timeout(CHART_SECONDS * 1000)
    await take(page, folder / "usage.png")


async def take_terminal(page: Page, folder: Path) -> None:
    """Take the terminal of an interactive shell."""
    await open_job(page, "shell")
    await page.get_by_role("tab", name="Attach").click()
    await expect(page.get_by_text("Attached", exact=True)).to_be_visible()
    await page.keyboard.type("ls -l --color /usr\n")
    await expect(page.get_by_role("region", name="Terminal")).to_contain_text("share")
    await take(page, folder / "attach.png")


async def take_phone(page: Page, folder: Path) -> None:
    """Take the table at the width of a phone, in the dark theme."""
    await page.emulate_media(color_scheme="dark")
    await page.set_viewport_size(PHONE)
    await page.goto("/")
    await expect(table(page)).to_have_attribute("aria-rowcount", str(JOBS + 1))
    await take(page, folder / "phone.png")
