"""Tests that each kind of fault of a page is found, so that the other tests of the browser can rely on it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from playwright.async_api import Browser, Route

from live import eventually
from tests.browser.faults import Faults

ORIGIN = "http://127.0.0.1:9"
POLICY = (
    "default-src 'none'; script-src 'self'; worker-src 'self'; style-src 'self'; connect-src *; "
    "require-trusted-types-for 'script'"
)
WORKER = """
const policy = trustedTypes.createPolicy("worker", {createScriptURL: path => path});
new Worker(policy.createScriptURL("/worker.js"))
"""


@asynccontextmanager
async def opened(browser: Browser, script: str, worker: str = "") -> AsyncIterator[Faults]:
    """Open a page with a script, a worker and a content policy like the dashboard's, and yield its faults."""
    files = {
        "/": ("text/html", "<!doctype html><title>page</title><body><script src=/page.js></script>"),
        "/page.js": ("text/javascript", script),
        "/worker.js": ("text/javascript", worker),
        "/favicon.ico": ("image/x-icon", ""),
    }

    async def answer(route: Route) -> None:
        kind, body = files.get(route.request.url.removeprefix(ORIGIN), ("text/plain", ""))
        headers = {"content-type": kind, "content-security-policy": POLICY}
        await route.fulfill(body=body, headers=headers)

    faults = Faults({ORIGIN})
    async with await browser.new_context() as context:
        faults.watch(context)
        await context.route("**/*", answer)
        page = await context.new_page()
        await page.goto(f"{ORIGIN}/")
        yield faults


@pytest.mark.parametrize(
    ("script", "fault"),
    [
        ("console.error('broken')", "console: broken"),
        ("console.warn('odd')", "console: odd"),
        ("setTimeout(() => { throw new Error('late') })", "thrown: Error: late"),
        ("Promise.reject(new Error('rejected'))", "thrown: Error: rejected"),
        ("fetch('http://example.org/')", "external request: http://example.org/"),
        ("document.body.append(Object.assign(new Image(), {src: '/x.png'}))", "Content Security Policy"),
        ("document.body.setAttribute('style', 'color: red')", "Content Security Policy"),
        ("document.body.innerHTML = '<b>'", "TrustedHTML"),
    ],
    ids=["error", "warning", "exception", "rejection", "external", "policy", "style", "markup"],
)
async def test_a_fault_of_the_page(browser: Browser, script: str, fault: str) -> None:
    async with opened(browser, script) as faults:
        await eventually(lambda: any(fault in each for each in faults.unexpected()))


@pytest.mark.parametrize(
    ("script", "fault"),
    [
        ("console.error('broken')", "console: broken"),
        ("throw new Error('in a worker')", "in a worker"),
        ("fetch('http://example.org/')", "external request: http://example.org/"),
    ],
    ids=["error", "exception", "external"],
)
async def test_a_fault_of_a_worker(browser: Browser, script: str, fault: str) -> None:
    async with opened(browser, WORKER, script) as faults:
        await eventually(lambda: any(fault in each for each in faults.unexpected()))


async def test_expected_faults_are_left_out(browser: Browser) -> None:
    async with opened(browser, "console.error('restarting'); console.error('broken')") as faults:
        faults.expect("restarting")
        await eventually(lambda: len(faults.found) == 2)
        assert faults.unexpected() == [f"console: broken ({ORIGIN}/page.js)"]


async def test_a_page_without_faults(browser: Browser) -> None:
    async with opened(browser, "console.log('fine')") as faults:
        assert faults.unexpected() == []
