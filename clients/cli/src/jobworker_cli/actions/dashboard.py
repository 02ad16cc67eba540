"""Serve the dashboard of this user, and open it in a browser."""

import asyncio
import contextlib
import html
import os
import signal
import tempfile
import webbrowser
from collections.abc import AsyncIterator
from pathlib import Path

from jobworker_cli.errors import CliError
from jobworker_cli.output import print_message
from jobworker_client import Client, ClientConfig

__all__ = ["log_in", "open_in_browser", "show_dashboard"]

DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
"""Without one of these variables, only browsers that would take the terminal can start."""

BROWSER_SECONDS = 10.0
"""Time for a browser to start and read the file with the link."""


async def show_dashboard(config: ClientConfig, port: int, *, open_browser: bool) -> int:
    """Serve until SIGINT or SIGTERM, and return the exit code.

    Raises:
        CliError: the dashboard is not installed, or the port cannot be used.
    """
    try:
        # The dashboard is an extra of this distribution, and slow to import.
        from jobworker_dashboard import own_dashboard
    except ImportError as error:
        hint = "run: pip install 'jobworker-cli[dashboard]'"
        raise CliError("the dashboard is not installed", hint=hint) from error
    try:
        sock = own_dashboard.listen(port)
    except OSError as error:
        raise CliError(
            f"port {port} of {own_dashboard.HOST} cannot be used: {os.strerror(error.errno or 0)}",
            hint="use another --port, or 0 for a free one",
        ) from error
    own = own_dashboard.OwnDashboard(config, sock)
    print(own.link, flush=True)
    print_message("jobworker: the link works once; press Ctrl-C to end the dashboard")
    async with open_in_browser(own.link) if open_browser else contextlib.nullcontext():
        interrupted = await own.serve()
    return 128 + signal.SIGINT if interrupted else 0


async def log_in(client: Client, url: str, *, open_browser: bool) -> int:
    """Print a link that logs a browser in to a shared dashboard, and open it. Return the exit code.

    Raises:
        CliError: `url` is not an address.
    """
    if not url.startswith(("https://", "http://")):
        raise CliError(f"--url {url} is not an address", hint="use https://HOST", exit_code=2)
    created = await client.create_login()
    link = f"{url.rstrip('/')}/login#{created.token}"
    print(link, flush=True)
    opening_browser = open_in_browser(link) if open_browser else contextlib.nullcontext(enter_result=False)
    async with opening_browser as opening:
        if opening:
            print_message(f"jobworker: ending in {BROWSER_SECONDS:g} s, when the browser has the link")
            await asyncio.sleep(BROWSER_SECONDS)
    return 0


@contextlib.asynccontextmanager
async def open_in_browser(link: str) -> AsyncIterator[bool]:
    """Open a link with a secret, if there is a browser. Yield whether there is one.

    Other users can read the arguments of a browser. So it gets a private file that leads to the link. The
    file exists until the end of the context.
    """
    if not any(os.environ.get(name) for name in DISPLAYS):
        yield False
        return
    with tempfile.TemporaryDirectory(prefix="jobworker-dashboard-") as directory:
        page = Path(directory) / "dashboard.html"
        target = html.escape(link)
        page.write_text(f'<!doctype html><meta http-equiv="refresh" content="0;url={target}">\n')
        # The start of a browser can take seconds.
        opening = asyncio.create_task(asyncio.to_thread(webbrowser.open, page.as_uri()))
        try:
            yield True
        finally:
            await opening
