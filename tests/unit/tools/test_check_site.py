"""tools/check-site: what a page loads from other hosts, and what it only links to."""

import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[3] / "tools/check-site"


def check(site: Path, name: str, text: str) -> "subprocess.CompletedProcess[str]":
    (site / "below").mkdir()
    (site / "below" / name).write_text(text)
    return subprocess.run([sys.executable, TOOL, site], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.html", '<script src="https://example.org/a.js"></script>'),
        ("a.html", "<script src=//example.org/a.js></script>"),
        ("a.html", '<link rel="preconnect" href="https://example.org" crossorigin>'),
        ("a.html", '<img src="data:," srcset="HTTPS://example.org/a.png 2x">'),
        ("a.html", "<style>@import 'https://example.org/a.css';</style>"),
        ("a.css", "body { background: url(//example.org/a.png) }"),
        ("a.svg", '<svg><image href="https://example.org/a.png"/></svg>'),
    ],
)
def test_an_address_that_a_page_loads_is_found(tmp_path: Path, name: str, text: str) -> None:
    done = check(tmp_path, name, text)
    assert done.returncode == 1
    assert done.stderr.startswith(f"{tmp_path / 'below' / name}: loads ")
    assert "//example.org" in done.stderr


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.html", '<a href="https://example.org/a">a</a>'),
        ("a.html", '<link rel="canonical" href="https://example.org/a">'),
        ("a.html", '<script src="../assets/a.js"></script><img src="data:image/png;base64,AA==">'),
        ("a.html", "<pre>url = https://example.org</pre>"),
        ("a.css", "body { background: url(../a.png) } /*! https://example.org */"),
        ("a.svg", '<svg xmlns="http://www.w3.org/2000/svg"><path/></svg>'),
    ],
)
def test_other_addresses_are_accepted(tmp_path: Path, name: str, text: str) -> None:
    done = check(tmp_path, name, text)
    assert (done.returncode, done.stderr) == (0, "")
