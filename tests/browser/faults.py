"""Records of logged errors, exceptions, violations of the content policy, and requests to other hosts."""

import re
from dataclasses import dataclass, field

from playwright.async_api import BrowserContext, ConsoleMessage, Request, WebError

_LOCAL = ("data:", "blob:")


@dataclass
class Faults:
    """The faults of all pages of a test.

    `origins` are those of the dashboards. Chromium reports violations of the content policy as errors in the
    console.
    """

    origins: set[str] = field(default_factory=set)
    found: list[str] = field(default_factory=list)
    _expected: list[re.Pattern[str]] = field(default_factory=list)

    def watch(self, context: BrowserContext) -> None:
        """Record the faults of the pages of a context and of their workers."""
        context.on("console", self._console)
        context.on("weberror", self._thrown)
        context.on("request", self._request)

    def expect(self, pattern: str) -> None:
        """Ignore faults that match a pattern, such as the failed requests of a test that stops the server."""
        self._expected.append(re.compile(pattern))

    def unexpected(self) -> list[str]:
        """Return the faults that the test did not expect."""
        return [each for each in self.found if not any(pattern.search(each) for pattern in self._expected)]

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning", "assert"}:
            fault = f"console: {message.text} ({message.location['url']})"
            if fault not in self.found:
                self.found.append(fault)

    def _thrown(self, error: WebError) -> None:
        self.found.append(f"thrown: {error.error.stack or error.error}")

    def _request(self, request: Request) -> None:
        if not request.url.startswith((*self.origins, *_LOCAL)):
            self.found.append(f"external request: {request.url}")
