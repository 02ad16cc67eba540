"""Check that errors in a page are found."""

from pathlib import Path

import pytest

from tests.docs.languages import RUNNERS
from tests.docs.playing import Session, Wrong

FENCE = "```"


@pytest.fixture
def reader(tmp_path: Path) -> Session:
    folder = tmp_path / "reader"
    folder.mkdir()
    return Session(folder, {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}, RUNNERS)


def play(reader: Session, *parts: str) -> None:
    page = reader.folder / "page.md"
    page.write_text("# Page\n\n" + "\n\n".join(parts) + "\n")
    reader.play(page)


def block(language: str, code: str) -> str:
    return f"{FENCE}{language}\n{code}\n{FENCE}"


def test_later_blocks_see_variables(reader: Session) -> None:
    play(
        reader,
        block("sh", "id=$(echo 7)\ntext='two\nlines'"),
        block("python", "import os\nassert os.environ['id'] == '7'\nprint(os.environ['text'])"),
        "<!-- output -->",
        block("text", "two\nlines"),
        block("sh", '[ "$id" = 7 ]'),
    )


def test_announced_exit_codes_are_expected(reader: Session) -> None:
    play(reader, block("sh", "true\nsh -c 'exit 3'  # exits with 3\nfalse || true"))


@pytest.mark.parametrize(
    ("language", "code", "message"),
    [
        ("sh", "true\nfalse\ntrue", "page.md:4: exit codes by line {2: 1}, not {}"),
        ("sh", "id=$(false)", "{1: 1}, not {}"),
        ("sh", "false | true", "{1: 1}, not {}"),
        ("sh", "true  # exits with 1", "{}, not {1: 1}"),
        ("sh", "sh -c 'exit 2'  # exits with 1", "{1: 2}, not {1: 1}"),
        ("sh", "exit 4", "{}, not {}"),
        ("sh", "if", "syntax error"),
        ("python", "raise SystemExit(2)", "page.md:4: exit code 2"),
        ("", "true", "has no verdict"),
        ("fortran", "END", "a block in 'fortran' has no verdict"),
    ],
)
def test_errors_are_reported(reader: Session, language: str, code: str, message: str) -> None:
    with pytest.raises(Wrong) as caught:
        play(reader, block(language, code))
    assert message in str(caught.value)


def test_indented_code_has_no_verdict(reader: Session) -> None:
    with pytest.raises(Wrong, match="no verdict"):
        play(reader, "    true")


def test_output_is_compared(reader: Session) -> None:
    say = block("sh", "echo one; echo two >&2; echo three")
    play(reader, say, "<!-- output -->", block("text", "one\n…\nthree"))
    with pytest.raises(Wrong, match="it printed\none"):
        play(reader, say, "<!-- output -->", block("text", "one\nthree"))


def test_a_reason_excuses_a_block_and_only_the_next_one(reader: Session) -> None:
    play(reader, "<!-- not run: it would take a year -->", block("sh", "false"))
    # Mkdocs needs four spaces in a list, and Markdown three.
    play(reader, "1. A step:", "    <!-- not run: it would take a year -->\n    ```sh\n    false\n    ```")
    with pytest.raises(Wrong):
        play(reader, "<!-- not run: it would take a year -->", "Text.", block("sh", "false"))
    with pytest.raises(Wrong):
        play(reader, "<!-- not run: -->", block("sh", "false"))
