"""Check that the documentation site has all pages, and that its diagrams match the program."""

import re
import subprocess
import sys
from pathlib import Path

from jobworkerd.model import ALLOWED, JobStatus
from tests.docs.pages import blocks
from tests.interop.paths import ROOT

DOCS = ROOT / "docs"
_NAV = (ROOT / "mkdocs.yml").read_text().partition("\nnav:\n")[2]
ENTRIES = re.findall(r"^ +- (?:.*: )?(\S+\.md)$", _NAV, re.MULTILINE)


def in_docs(entry: str) -> list[str]:
    """Return the pages in docs/ that an entry stands for."""
    return [str(page.relative_to(DOCS)) for page in DOCS.glob(entry)]


def test_each_page_is_in_the_navigation_once() -> None:
    shown = [page for entry in ENTRIES for page in in_docs(entry)]
    assert sorted(shown) == sorted(str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md"))


def test_the_other_entries_are_generated(tmp_path: Path) -> None:
    subprocess.run([sys.executable, ROOT / "tools/make-reference-pages", tmp_path], check=True)
    generated = sorted(page.name for page in tmp_path.iterdir())
    assert sorted(entry for entry in ENTRIES if not in_docs(entry)) == generated


def test_the_diagram_of_the_statuses_has_each_transition() -> None:
    (diagram,) = (
        block.code for block in blocks(DOCS / "architecture.md") if block.code.startswith("stateDiagram")
    )
    drawn = {(before, after) for before, after in re.findall(r"(\S+) --> (\S+)", diagram) if before != "[*]"}
    allowed = {(before.name, after.name) for before, following in ALLOWED.items() for after in following}
    assert drawn == allowed | {(status.name, "[*]") for status in JobStatus if status.final}
