"""The documentation site in the browser, opened as files: it needs no server and no other host."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

SITE = Path(__file__).parents[2] / "dist/docs"
LOCAL = ("file:", "data:", "blob:")


@pytest.fixture(scope="module", autouse=True)
def built() -> None:
    """Fail at once if nothing has built the site."""
    assert (SITE / "index.html").exists(), "run make docs"


@pytest_asyncio.fixture(loop_scope="session")
async def site_page(browser: Browser) -> AsyncIterator[Page]:
    """Return a page that may request nothing from other hosts, and in which no script fails."""
    requested: list[str] = []
    failures: list[str] = []
    async with await browser.new_context() as context:
        page = await context.new_page()
        page.on("request", lambda request: requested.append(request.url))
        page.on("requestfailed", lambda request: failures.append(request.url))
        page.on("pageerror", lambda error: failures.append(str(error)))
        yield page
    assert [url for url in requested if not url.startswith(LOCAL)] == []
    assert failures == []


async def test_the_search_finds_a_word_of_another_page(site_page: Page) -> None:
    await site_page.goto((SITE / "index.html").as_uri())
    await site_page.get_by_role("textbox", name="Search").fill("hole punch")
    results = site_page.locator(".md-search-result__item")
    await expect(results.filter(has_text="Architecture").first).to_be_visible()


async def test_diagrams_are_drawn(site_page: Page) -> None:
    await site_page.goto((SITE / "architecture.html").as_uri())
    await expect(site_page.locator("div.mermaid")).to_have_count(4)
    await expect(site_page.locator("pre.mermaid")).to_have_count(0)


async def test_a_page_without_a_diagram_does_not_load_the_large_script(site_page: Page) -> None:
    loaded: list[str] = []
    site_page.on("request", lambda request: loaded.append(request.url))
    await site_page.goto((SITE / "logs.html").as_uri())
    await expect(site_page.get_by_role("heading", level=1)).to_be_visible()
    assert loaded
    assert not any("mermaid" in url for url in loaded)
