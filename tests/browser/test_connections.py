"""Tests of pages whose server restarts, and of many pages at once."""

import asyncio
from pathlib import Path

from playwright.async_api import expect

from dashboard import Dashboard
from live import Server
from live_client import Client, client
from tests.browser.conftest import OpenPage
from tests.browser.faults import Faults
from tests.browser.locators import log, row
from tests.browser.scripts import waiting_for

OUTAGE = r"WebSocket|Failed to load resource"
TABS = 20


async def test_a_page_survives_a_restart_of_the_server(
    own_server: Server, own_dashboard: Dashboard, open_page: OpenPage, faults: Faults
) -> None:
    faults.expect(OUTAGE)
    async with client(own_server, "admin") as admin:
        before = await admin.create("sh", "-c", "echo before the restart; exec sleep 600")
    table = await open_page("/", at=own_dashboard)
    await expect(row(table, before.id)).to_contain_text("RUNNING", ignore_case=True)

    await asyncio.to_thread(own_server.stop)
    await expect(table.get_by_text("Reconnecting").first).to_be_visible()
    await asyncio.to_thread(own_server.launch)
    await expect(table.get_by_text("Reconnecting")).to_have_count(0)
    await expect(row(table, before.id)).to_contain_text("STOPPED", ignore_case=True)
    async with client(own_server, "admin") as admin:
        after = await admin.create("true")
    await expect(row(table, after.id)).to_be_visible()


async def test_a_log_goes_on_after_a_reload_of_the_server(
    own_server: Server, own_dashboard: Dashboard, open_page: OpenPage, faults: Faults, job_files: Path
) -> None:
    faults.expect(OUTAGE)
    go = job_files / "go"
    async with client(own_server, "admin") as admin:
        job = await admin.create("sh", "-c", waiting_for(go))
    page = await open_page(f"/jobs/{job.id}?tab=log", at=own_dashboard)
    await expect(log(page)).to_contain_text("ready")
    for each in own_server.api_processes():
        each.kill()
    go.touch()
    await expect(log(page)).to_contain_text("released")
    await expect(log(page).get_by_text("ready", exact=True)).to_have_count(1)


async def test_twenty_tabs_follow_one_log(open_page: OpenPage, admin: Client, job_files: Path) -> None:
    go = job_files / "go"
    job = await admin.create("sh", "-c", waiting_for(go))
    first = await open_page(f"/jobs/{job.id}?tab=log")
    others = [await first.context.new_page() for _ in range(TABS - 1)]
    await asyncio.gather(*(page.goto(first.url) for page in others))
    for page in (first, *others):
        await expect(log(page)).to_contain_text("ready")
    go.touch()
    for page in (first, *others):
        await expect(log(page)).to_contain_text("released")
