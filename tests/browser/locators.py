"""The parts of a page that tests look at, by role and name as a screen reader finds them."""

from playwright.async_api import Locator, Page


def table(page: Page) -> Locator:
    """Return the table of jobs."""
    return page.get_by_role("grid", name="Jobs")


def row(page: Page, job_id: str) -> Locator:
    """Return the row of a job."""
    return table(page).locator(f"[data-id='{job_id}']")


def search(page: Page) -> Locator:
    """Return the field that filters the table."""
    return page.get_by_role("searchbox", name="Filter jobs")


def log(page: Page) -> Locator:
    """Return the output in a log view."""
    return page.get_by_role("log", name="Output of the job")


def log_state(page: Page) -> Locator:
    """Return the text about the stream of a log view."""
    return page.get_by_role("status", name="State of the log")


def button(page: Page, name: str) -> Locator:
    """Return the button with exactly this name."""
    return page.get_by_role("button", name=name, exact=True)
