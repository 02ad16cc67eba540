"""`jobworker dashboard` on the side of the command: the browser and the missing package."""

import asyncio
import os
import sys
import webbrowser
from pathlib import Path
from typing import cast
from urllib.parse import unquote, urlsplit

import pytest

from jobworker_cli.actions import dashboard
from jobworker_cli.errors import CliError
from jobworker_client import Client, ClientConfig

LINK = "http://127.0.0.1:8080/login#se&cret"


async def test_without_the_package_the_error_names_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "jobworker_dashboard", None)
    with pytest.raises(CliError, match="not installed") as failed:
        await dashboard.show_dashboard(ClientConfig.from_directory(), 0, open_browser=False)
    assert "pip install 'jobworker-cli[dashboard]'" in failed.value.hint


async def test_the_browser_gets_a_private_file_and_not_the_link(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[tuple[str, str, int]] = []

    def read(address: str) -> bool:
        page = Path(unquote(urlsplit(address).path))
        opened.append((address, page.read_text(), page.parent.stat().st_mode & 0o777))
        return True

    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(webbrowser, "open", read)
    async with dashboard.open_in_browser(LINK):
        pass
    ((address, page, mode),) = opened
    assert "secret" not in address
    assert 'content="0;url=http://127.0.0.1:8080/login#se&amp;cret"' in page
    assert mode == 0o700
    assert not os.access(urlsplit(address).path, os.F_OK)


async def test_the_file_stays_until_a_slow_browser_has_read_it(monkeypatch: pytest.MonkeyPatch) -> None:
    class LoggedIn:
        token = "secret"

    class FakeClient:
        async def create_login(self) -> LoggedIn:
            return LoggedIn()

    waits: list[float] = []
    sleep = asyncio.sleep
    opened: list[Path] = []

    async def wait(seconds: float) -> None:
        waits.append(seconds)
        while not opened:
            await sleep(0.01)
        assert opened[0].exists()

    def start(address: str) -> bool:
        opened.append(Path(unquote(urlsplit(address).path)))
        return True

    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(webbrowser, "open", start)
    monkeypatch.setattr(asyncio, "sleep", wait)
    client = cast("Client", FakeClient())
    assert await dashboard.log_in(client, "https://jobs.example.org", open_browser=True) == 0
    assert waits == [dashboard.BROWSER_SECONDS]
    assert not opened[0].exists()


async def test_without_a_display_no_browser_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in dashboard.DISPLAYS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(webbrowser, "open", lambda _: pytest.fail("started"))
    async with dashboard.open_in_browser(LINK) as opened:
        assert not opened
