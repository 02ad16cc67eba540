"""One live server with a dashboard for each role, and one Chromium with a separate session for each page."""

import re
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, StorageState, async_playwright, expect

from dashboard import BIN, Dashboard
from live import Server, make_certificates, seen_by_jobs
from live_client import Client, client
from tests.browser.faults import Faults

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
KEPT = ROOT / ".cache/browser"
"""Traces and pictures of failed tests."""

_FAILED = pytest.StashKey[bool]()
_LAUNCH = ("--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking")
_VIEWPORT = {"width": 1280, "height": 800}

# Milliseconds. The tests share their cores with other tests.
expect.set_options(timeout=30_000)

OpenPage = Callable[..., Awaitable[Page]]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option of `make screenshots`."""
    parser.addoption(
        "--screenshots", type=Path, metavar="DIR", help="write the pictures of docs/dashboard.md"
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the tests of this directory in the event loop of the session, which the browser belongs to."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note failed tests for the fixture that keeps their traces."""
    report = yield
    item.stash[_FAILED] = item.stash.get(_FAILED, False) or report.failed
    return report


@pytest.fixture(scope="session")
def certs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory of certificates for the CA, the server, an admin and a viewer."""
    return make_certificates(BIN, tmp_path_factory.mktemp("certs"))


@pytest.fixture(scope="session")
def server(certs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server that most tests share."""
    with Server.started(BIN, certs, tmp_path_factory.mktemp("state")) as started:
        yield started


@pytest.fixture
def resources() -> Iterator[ExitStack]:
    """Servers and dashboards of one test, which end after its pages."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def own_server(certs: Path, tmp_path: Path, resources: ExitStack) -> Server:
    """A server for one test that stops or breaks it."""
    return resources.enter_context(Server.started(BIN, certs, tmp_path / "state"))


@pytest.fixture
def own_dashboard(own_server: Server, resources: ExitStack) -> Dashboard:
    """The dashboard of this server."""
    return resources.enter_context(Dashboard.started(own_server))


@pytest.fixture(scope="session")
def dashboards(server: Server) -> Iterator[dict[str, Dashboard]]:
    """The dashboards of the shared server by role."""
    with Dashboard.started(server, "admin") as admin, Dashboard.started(server, "viewer") as viewer:
        yield {"admin": admin, "viewer": viewer}


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of the browser."""
    found = subprocess.run([ROOT / "tools/chromium"], check=True, capture_output=True, text=True)
    return found.stdout.strip()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser(chromium: str) -> AsyncIterator[Browser]:
    """The browser that all tests share."""
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=chromium, args=_LAUNCH)
        yield launched
        await launched.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def logins(browser: Browser, dashboards: dict[str, Dashboard]) -> dict[str, StorageState]:
    """The cookies of a logged-in user by role; an address logs in only once."""
    return {role: await log_in(browser, dashboard) for role, dashboard in dashboards.items()}


async def log_in(browser: Browser, dashboard: Dashboard) -> StorageState:
    """Open the address that `jobworker dashboard` prints, and return the cookies."""
    async with await browser.new_context() as context:
        page = await context.new_page()
        await page.goto(dashboard.login)
        await page.wait_for_url(f"{dashboard.origin}/")
        return await context.storage_state()


@pytest.fixture
def faults() -> Iterator[Faults]:
    """Faults of the pages of a test, which fail it unless it expects them."""
    recorded = Faults()
    yield recorded
    assert not recorded.unexpected()


@pytest_asyncio.fixture(loop_scope="session")
async def open_page(
    request: pytest.FixtureRequest,
    browser: Browser,
    dashboards: dict[str, Dashboard],
    logins: dict[str, StorageState],
    faults: Faults,
    resources: ExitStack,  # noqa: ARG001 - its servers end after the pages
) -> AsyncIterator[OpenPage]:
    """Return a function that opens a page of the dashboard in its own session of the browser."""
    contexts: list[BrowserContext] = []

    async def opened(
        path: str = "/", role: str = "admin", *, at: Dashboard | None = None, **options: Any
    ) -> Page:
        """Open a path of a role's dashboard, or of the dashboard `at`."""
        dashboard = at or dashboards[role]
        faults.origins.add(dashboard.origin)
        if "storage_state" not in options:
            options["storage_state"] = await log_in(browser, at) if at else logins[role]
        context = await browser.new_context(base_url=dashboard.origin, **{"viewport": _VIEWPORT, **options})
        contexts.append(context)
        faults.watch(context)
        await context.tracing.start(snapshots=True)
        page = await context.new_page()
        await page.goto(path)
        return page

    yield opened
    for number, context in enumerate(contexts):
        await _close(context, request.node, number)


async def _close(context: BrowserContext, item: pytest.Item, number: int) -> None:
    """Close a context; keep its trace and a picture of each page if the test has failed."""
    async with AsyncExitStack() as stack:
        stack.push_async_callback(context.close)
        if not item.stash.get(_FAILED, False):
            return
        name = re.sub(r"\W+", "-", f"{item.name}-{number}")
        for index, page in enumerate(context.pages):
            await page.screenshot(path=KEPT / f"{name}-{index}.png")
        await context.tracing.stop(path=KEPT / f"{name}.zip")


@pytest_asyncio.fixture(loop_scope="session")
async def admin(server: Server) -> AsyncIterator[Client]:
    """A client with the Admin role, which creates the jobs that a test looks at."""
    async with client(server, "admin") as connected:
        yield connected


@pytest.fixture
def job_files() -> Iterator[Path]:
    """A directory for files that jobs read; each job has a private /tmp."""
    with seen_by_jobs() as directory:
        yield directory
