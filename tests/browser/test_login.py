"""Tests of the session: the link that works once, and pages without a session."""

from contextlib import ExitStack

import pytest
from playwright.async_api import expect

from dashboard import Dashboard
from live import Server
from tests.browser.conftest import OpenPage
from tests.browser.faults import Faults

NO_SESSION = "status of 401"


@pytest.fixture
def one_time(server: Server, resources: ExitStack) -> Dashboard:
    """A dashboard whose link has not been used."""
    return resources.enter_context(Dashboard.started(server))


async def test_the_link_logs_in_once(one_time: Dashboard, open_page: OpenPage, faults: Faults) -> None:
    faults.expect(NO_SESSION)  # the page looks for a session that the link would replace
    page = await open_page(one_time.login, at=one_time, storage_state=None)
    await expect(page).to_have_url(f"{one_time.origin}/")
    await expect(page.get_by_role("banner")).to_contain_text("admin")
    assert await page.evaluate("document.cookie") == "", "scripts cannot read the cookie"
    await page.reload()
    await expect(page.get_by_role("banner")).to_contain_text("admin")

    other = await open_page(one_time.login, at=one_time, storage_state=None)
    await expect(other.get_by_text("You are not logged in")).to_be_visible()
    await expect(other.get_by_role("alert")).not_to_be_empty()


async def test_a_new_link_works_on_the_login_page(
    one_time: Dashboard, open_page: OpenPage, faults: Faults
) -> None:
    faults.expect(NO_SESSION)
    page = await open_page("/login", at=one_time, storage_state=None)
    await expect(page.get_by_text("You are not logged in")).to_be_visible()
    await page.goto(one_time.login)
    await expect(page).to_have_url(f"{one_time.origin}/")


async def test_the_token_leaves_the_address_and_the_history(
    one_time: Dashboard, open_page: OpenPage, faults: Faults
) -> None:
    faults.expect(NO_SESSION)
    page = await open_page("about:blank", at=one_time, storage_state=None)
    await page.goto(one_time.login)
    await expect(page).to_have_url(f"{one_time.origin}/")
    await page.go_back()
    assert page.url == "about:blank"


async def test_a_page_without_a_session_names_the_command(open_page: OpenPage, faults: Faults) -> None:
    faults.expect(NO_SESSION)
    page = await open_page("/jobs/0199f3a0-0000-7000-8000-000000000001", storage_state=None)
    await expect(page.get_by_text("You are not logged in")).to_be_visible()
    await expect(page.get_by_text("jobworker dashboard", exact=True)).to_be_visible()
