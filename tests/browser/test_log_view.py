"""Tests of the log view: following, colours, progress bars, and the output that a user chooses to see."""

from pathlib import Path

from playwright.async_api import Locator, Page, expect

from live_client import Client
from tests.browser.conftest import OpenPage
from tests.browser.locators import button, log, log_state
from tests.browser.scripts import waiting_for

LINES = 1_000_000


async def test_new_output_appears_at_once(open_page: OpenPage, admin: Client, job_files: Path) -> None:
    go = job_files / "go"
    job = await admin.create("sh", "-c", waiting_for(go))
    page = await open_page(f"/jobs/{job.id}?tab=log")
    await expect(log(page)).to_contain_text("ready")
    await expect(log_state(page)).to_have_text("Live")
    go.touch()
    await expect(log(page)).to_contain_text("released")
    await admin.stop(job.id)
    await expect(log_state(page)).to_contain_text("Stopped")


async def test_it_follows_only_at_the_bottom(open_page: OpenPage, admin: Client, job_files: Path) -> None:
    go = job_files / "go"
    job = await admin.create("sh", "-c", f"seq 1000; {waiting_for(go)}")
    page = await open_page(f"/jobs/{job.id}?tab=log")
    await expect(log(page)).to_contain_text("ready")
    await log(page).hover()
    await page.mouse.wheel(0, -3000)
    await expect(button(page, "Follow")).to_have_attribute("aria-pressed", "false")
    await expect(log(page)).not_to_contain_text("ready")
    before = await log(page).inner_text()
    go.touch()
    await expect(page.get_by_text("1,002 lines")).to_be_visible()
    assert await log(page).inner_text() == before, "the view stays where the user reads"
    await button(page, "Follow the output").click()
    await expect(log(page)).to_contain_text("released")
    await expect(button(page, "Follow")).to_have_attribute("aria-pressed", "true")


async def test_colours(open_page: OpenPage, admin: Client) -> None:
    script = r"printf '\033[31mred\033[0m plain \033[1mbold\033[0m \033[38;2;1;200;1mgreen\033[0m\n'"
    page = await open_page(await log_of(admin, script))
    red, green = (log(page).get_by_text(text, exact=True) for text in ("red", "green"))
    await expect(red).to_be_visible()
    plain = await style(log(page), "color")
    assert len({plain, await style(red, "color"), await style(green, "color")}) == 3
    assert int(await style(log(page).get_by_text("bold", exact=True), "fontWeight")) >= 600
    await expect(log(page)).not_to_contain_text("[31m")


async def style(text: Locator, name: str) -> str:
    """Return a computed property of an element."""
    return str(await text.evaluate("(element, name) => getComputedStyle(element)[name]", name))


async def test_a_progress_bar_is_one_line(open_page: OpenPage, admin: Client) -> None:
    script = r"for n in 1 50 100; do printf '\r%d%% done' $n; sleep 0.1; done; echo; echo end"
    page = await open_page(await log_of(admin, script))
    await expect(page.get_by_text("2 lines")).to_be_visible()
    await expect(log(page)).to_contain_text("100% done")
    await expect(log(page)).not_to_contain_text("50% done")


async def test_stdout_and_stderr_can_be_hidden(open_page: OpenPage, admin: Client) -> None:
    page = await open_page(await log_of(admin, "echo to-out; echo to-err >&2"))
    await expect(log(page)).to_contain_text("to-out")
    await expect(log(page)).to_contain_text("to-err")
    await button(page, "stderr").click()
    await expect(log(page)).not_to_contain_text("to-err")
    await expect(log(page)).to_contain_text("to-out")
    await button(page, "stderr").click()
    await button(page, "stdout").click()
    await expect(log(page)).not_to_contain_text("to-out")
    await expect(log(page)).to_contain_text("to-err")


async def test_long_lines_wrap_on_demand(open_page: OpenPage, admin: Client) -> None:
    page = await open_page(await log_of(admin, "seq -s ' ' 1 2000"))
    await expect(log(page)).to_contain_text("1 2 3")
    assert await hidden_width(page) > 0
    await button(page, "Wrap").click()
    await expect(button(page, "Wrap")).to_have_attribute("aria-pressed", "true")
    assert await hidden_width(page) == 0


async def hidden_width(page: Page) -> int:
    """Return by how many pixels the lines are wider than the view."""
    return int(await log(page).evaluate("element => element.scrollWidth - element.clientWidth"))


async def test_timestamps_on_demand(open_page: OpenPage, admin: Client) -> None:
    page = await open_page(await log_of(admin, "echo hello"))
    time = log(page).locator("time").first
    await expect(log(page)).to_contain_text("hello")
    await expect(time).to_be_hidden()
    await button(page, "Timestamps").click()
    await expect(time).to_be_visible()


async def test_a_million_lines(open_page: OpenPage, admin: Client) -> None:
    page = await open_page(await log_of(admin, f"seq {LINES}"))
    await expect(page.get_by_text(f"{LINES:,} lines")).to_be_visible()
    await expect(log(page).get_by_text(f"{LINES}", exact=True).last).to_be_visible()
    await button(page, "First line").click()
    await expect(log(page).get_by_label("Line 1, stdout")).to_be_visible()
    assert await log(page).locator("time").count() < 300, "only the visible lines are elements"
    await button(page, "Last line").click()
    await expect(log(page).get_by_label(f"Line {LINES}, stdout")).to_be_visible()


async def test_an_empty_log(open_page: OpenPage, admin: Client) -> None:
    page = await open_page(await log_of(admin, "true"))
    await expect(page.get_by_text("The job wrote nothing.")).to_be_visible()


async def log_of(admin: Client, script: str) -> str:
    """Run a script to its end, and return the path of its log."""
    job, _ = await admin.run("sh", "-c", script)
    return f"/jobs/{job.id}?tab=log"
