"""Runs the examples of the Python client in its docstrings and in docs/clients.md."""

import asyncio
import doctest
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import jobworker_client
from live import Server

PAGE = Path(__file__).parents[2] / "docs/clients.md"
SECTION = PAGE.read_text().partition("## Python\n")[2].partition("\n## ")[0]
# A comment before a block says why the block cannot run.
BLOCKS = re.findall(r"^(?<!-->\n)```python\n(.*?)^```$", SECTION, flags=re.DOTALL | re.MULTILINE)

PUBLIC = {name: getattr(jobworker_client, name) for name in jobworker_client.__all__}


def docstrings() -> Iterator[doctest.DocTest]:
    """Yield the examples of the package and of its exports."""
    # The examples use the exports of the package and asyncio without imports.
    globs = {**PUBLIC, "asyncio": asyncio}
    finder = doctest.DocTestFinder(exclude_empty=True)
    yield from finder.find(jobworker_client, "jobworker_client", globs=globs)
    for name, value in PUBLIC.items():
        for base in inspect.getmro(value) if inspect.isclass(value) else ():
            if base.__module__.startswith("jobworker_client"):
                yield from finder.find(base, name, module=inspect.getmodule(base), globs=globs)


EXAMPLES = {test.name: test for test in docstrings() if test.examples}


@pytest.fixture(autouse=True)
def environment(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the environment variables that name the server."""
    monkeypatch.setenv("JOBWORKER_SERVER", server.address)
    monkeypatch.setenv("JOBWORKER_CERTS", str(server.certs))


@pytest.mark.parametrize("name", EXAMPLES)
def test_docstring_example_prints_its_output(name: str) -> None:
    report: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    failed, attempted = runner.run(EXAMPLES[name], out=report.append)
    assert attempted
    assert not failed, "".join(report)


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_block_of_the_page_runs(number: int) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", BLOCKS[number]], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_page_and_methods_have_examples() -> None:
    assert len(BLOCKS) >= 4
    for kind in ("Client", "SyncClient"):
        assert {f"{kind}.{method}" for method in ("create", "get", "list", "stream")} < set(EXAMPLES)
