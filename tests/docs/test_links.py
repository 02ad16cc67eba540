"""Check the relative links of all pages, and the index of the decision records."""

import re
from pathlib import Path

import pytest

from tests.interop.paths import ROOT

PAGES = sorted({*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("tests/interop/*.md")})
DECISIONS = sorted(ROOT.glob("docs/adr/[0-9]*.md"))
# Decisions name the files of their time.
PRESENT = [page for page in PAGES if page not in DECISIONS]


def _prose(page: Path) -> str:
    return re.sub(r"^```(?s:.)*?^```$", "", page.read_text(), flags=re.MULTILINE)


def _anchors(page: Path) -> set[str]:
    """Return the anchors of the headings, as GitHub forms them."""
    headings = re.findall(r"^#+ (.*)$", _prose(page), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", _prose(page)):
        if link.startswith(("http://", "https://")):
            continue
        file, _, anchor = link.partition("#")
        target = page.parent / file if file else page
        assert target.exists(), link
        assert not anchor or anchor in _anchors(target), link


@pytest.mark.parametrize("page", PRESENT, ids=lambda page: str(page.relative_to(ROOT)))
def test_each_named_file_of_the_checkout_exists(page: Path) -> None:
    named = re.findall(
        r"`((?:bench|clients|docs|gen|packaging|proto|services|tests|tools)/[\w./-]+)`", _prose(page)
    )
    assert [path for path in named if not any((base / path).exists() for base in (ROOT, page.parent))] == []


def test_the_index_lists_each_decision_with_its_title() -> None:
    rows = re.findall(
        r"^\| (\d+) \| \[(.*)\]\((.*)\) \|$", (ROOT / "docs/adr/README.md").read_text(), re.MULTILINE
    )
    assert [(f"# {number}. {title}", file) for number, title, file in rows] == [
        (page.read_text().partition("\n")[0], page.name) for page in DECISIONS
    ]
    assert [int(number) for number, _, _ in rows] == list(range(1, len(DECISIONS) + 1))


@pytest.mark.parametrize("page", DECISIONS, ids=lambda page: page.stem)
def test_a_decision_has_its_sections(page: Path) -> None:
    assert re.search(r"^Status: (accepted|superseded by \[.*\]\(.*\))$", page.read_text(), re.MULTILINE)
    sections = re.findall(r"^## (.*)$", page.read_text(), re.MULTILINE)
    assert sections[:3] == ["Context", "Decision", "Consequences"]
    assert sections[3:] in ([], ["Measured"])
