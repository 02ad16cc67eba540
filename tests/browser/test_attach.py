"""Tests of the terminal and of the field for input on the page of a job."""

from playwright.async_api import Locator, Page, expect

from dashboard import Dashboard
from jobworker.v1 import job_pb2
from live import Server
from live_client import Client, client
from tests.browser.conftest import OpenPage
from tests.browser.faults import Faults

OUTAGE = r"WebSocket|Failed to load resource"
TERMINAL = job_pb2.JobTerminal(columns=80, rows=24)
ECHO = "while read line; do echo got $line; done; echo end of input"


def terminal(page: Page) -> Locator:
    """Return the visible lines of the terminal."""
    return page.get_by_role("region", name="Terminal").locator(".xterm-rows")


def session(page: Page) -> Locator:
    """Return the text about the state of the session."""
    return page.get_by_role("tabpanel").get_by_role("status")


async def shell(admin: Client) -> job_pb2.Job:
    """Create a job with an interactive shell, which ignores SIGTERM."""
    return await admin.create("sh", "-i", env={"PS1": "% "}, terminal=TERMINAL, stop_signal="SIGHUP")


async def attach(open_page: OpenPage, job: job_pb2.Job, role: str = "admin") -> Page:
    """Open the page of a job and wait until it is attached."""
    page = await open_page(f"/jobs/{job.id}?tab=attach", role)
    await expect(session(page)).to_have_text("Attached")
    return page


async def test_a_user_types_into_a_terminal(open_page: OpenPage, admin: Client) -> None:
    page = await attach(open_page, await shell(admin))
    await expect(terminal(page)).to_contain_text("%")
    await page.keyboard.type("printf '\\033[38;2;120;20;20mmaroon\\033[0m\\n'\n")
    maroon = terminal(page).get_by_text("maroon", exact=True)
    await expect(maroon).to_have_css("color", "rgb(120, 20, 20)")
    await page.keyboard.type("exit 4\n")
    await expect(session(page)).to_have_text("The job has ended. exited with code 4")


async def test_the_terminal_has_the_size_of_the_window(open_page: OpenPage, admin: Client) -> None:
    page = await attach(open_page, await shell(admin))
    await page.keyboard.type("echo size=$(stty size)\n")
    await expect(terminal(page)).to_contain_text("size=")
    await page.set_viewport_size({"width": 400, "height": 500})
    await page.keyboard.type("while [ $(stty size | cut -d' ' -f2) -gt 50 ]; do :; done; echo narrow\n")
    await expect(terminal(page).get_by_text("narrow", exact=True)).to_be_visible()


async def test_a_user_detaches_and_returns(open_page: OpenPage, admin: Client) -> None:
    job = await shell(admin)
    page = await attach(open_page, job)
    await page.keyboard.type("echo $((40 + 2))\n")
    await expect(terminal(page)).to_contain_text("42")
    await page.keyboard.press("Control+Alt+x")
    await page.keyboard.press("Enter")
    await expect(session(page)).to_have_text("Detached. The job keeps running.")
    await page.get_by_role("button", name="Attach", exact=True).click()
    await expect(session(page)).to_have_text("Attached")
    await page.keyboard.type("echo $((50 + 1))\n")
    await expect(terminal(page)).to_contain_text("51")
    await expect(terminal(page).get_by_text("42", exact=True)).to_have_count(1)


async def test_a_query_in_earlier_output_is_not_answered_again(open_page: OpenPage, admin: Client) -> None:
    job = await admin.create("sh", "-c", r"printf '\033[6nready\n'; exec cat -v", terminal=TERMINAL)
    await admin.wrote(job.id, b"ready")
    page = await attach(open_page, job)
    await expect(terminal(page)).to_contain_text("ready")
    await page.keyboard.type("typed\n")
    # The terminal echoes the line, and then cat writes it.
    await expect(terminal(page).get_by_text("typed", exact=True)).to_have_count(2)
    await expect(terminal(page)).not_to_contain_text("R")


async def test_a_terminal_survives_a_reload_of_the_server(
    own_server: Server, own_dashboard: Dashboard, open_page: OpenPage, faults: Faults
) -> None:
    faults.expect(OUTAGE)
    async with client(own_server, "admin") as admin:
        job = await shell(admin)
    page = await open_page(f"/jobs/{job.id}?tab=attach", at=own_dashboard)
    await expect(session(page)).to_have_text("Attached")
    await page.keyboard.type("echo $((40 + 2))\n")
    await expect(terminal(page)).to_contain_text("42")
    for each in own_server.api_processes():
        each.kill()
    await page.keyboard.type("echo $((50 + 1))\n")
    await expect(terminal(page).get_by_text("51", exact=True)).to_have_count(1)
    await expect(terminal(page).get_by_text("42", exact=True)).to_have_count(1)


async def test_a_user_sends_lines_to_a_job_without_a_terminal(open_page: OpenPage, admin: Client) -> None:
    job = await admin.create("sh", "-c", ECHO, stdin=job_pb2.JOB_STDIN_OPEN)
    page = await attach(open_page, job)
    output = page.get_by_role("log", name="Recent output")
    await page.get_by_label("Line of input").fill("<b>first</b>")
    await page.keyboard.press("Enter")
    await expect(output).to_have_text("got <b>first</b>\n")
    await page.get_by_role("button", name="End the input").click()
    await expect(output).to_contain_text("end of input")
    await expect(session(page)).to_contain_text("The job has ended.")


async def test_a_user_takes_the_stdin_over(open_page: OpenPage, admin: Client) -> None:
    job = await admin.create("sh", "-c", ECHO, stdin=job_pb2.JOB_STDIN_OPEN)
    first = await attach(open_page, job)
    second = await open_page(f"/jobs/{job.id}?tab=attach")
    await expect(session(second)).to_contain_text("Another client feeds the job")
    await second.get_by_role("button", name="Take over").click()
    await expect(session(second)).to_have_text("Attached")
    await second.get_by_label("Line of input").fill("mine")
    await second.keyboard.press("Enter")
    await expect(second.get_by_role("log", name="Recent output")).to_contain_text("got mine")
    await first.get_by_label("Line of input").fill("too late")
    await first.keyboard.press("Enter")
    await expect(session(first)).to_contain_text("Another client feeds the job")


async def test_a_viewer_cannot_attach(open_page: OpenPage, admin: Client) -> None:
    job = await shell(admin)
    page = await open_page(f"/jobs/{job.id}?tab=attach", "viewer")
    await expect(page.get_by_role("tabpanel")).to_contain_text("Only an admin can attach")
    await expect(page.get_by_role("region", name="Terminal")).to_have_count(0)
