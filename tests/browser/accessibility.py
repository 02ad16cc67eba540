"""Checks of a page: violations of WCAG 2.1 that axe-core finds (levels A and AA), and its width."""

from importlib.resources import files

from playwright.async_api import Page

_AXE = (files("axe_playwright_python") / "axe.min.js").read_text()
_RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"], "resultTypes": ["violations"]}


async def violations(page: Page) -> list[str]:
    """Return the rule, the element and the reason of each violation."""
    await page.evaluate(_AXE)
    found = await page.evaluate("rules => axe.run(rules)", _RULES)
    return [
        f"{rule['id']}: {node['html'][:200]}: {node['failureSummary']}"
        for rule in found["violations"]
        for node in rule["nodes"]
    ]


async def overflow(page: Page) -> int:
    """Return by how many pixels the page is wider than the window, so that a user must scroll sideways."""
    root = "document.documentElement"
    return int(await page.evaluate(f"{root}.scrollWidth - {root}.clientWidth"))
