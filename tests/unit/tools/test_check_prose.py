"""tools/check-prose: the phrases that it finds, and where in a file it looks for them."""

import importlib.machinery
import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

TOOL = Path(__file__).parents[3] / "tools/check-prose"

# (kind of text, to rewrite, rewritten)
PAIRS = [
    (
        "docstring",
        "Runs commands on the worker's host and tells of them.",
        "Starts, stops, inspects and streams jobs on one host.",
    ),
    (
        "comment",
        "What is made ahead, and its end, stands back behind those who wait for something now.",
        "The fork server runs at a lower priority so that pre-forking does not delay requests in flight.",
    ),
    (
        "comment",
        "So long after a job's start its client has the answer.",
        "Delay before the pool is refilled, so that refilling does not compete with the CreateJob response.",
    ),
    (
        "docstring",
        "Has as many forked as are to be there; whoever takes one waits for it, if it comes to that.",
        "Tops up the pool to its target size. `take` blocks if a process is not ready yet.",
    ),
    (
        "docstring",
        "Where the host lacks something none is missed: the next job asks for itself, or fails itself.",
        "Ignores resource exhaustion: the next `take` retries and reports the error to its client.",
    ),
    (
        "comment",
        "whoever killed it: the job need not notice",
        "The process was killed by someone else; try the next one.",
    ),
    (
        "docstring",
        "Where in a log a reader begins who names a time",
        "Finds the log offset that corresponds to a time.",
    ),
    ("message", "is no LimitsPolicy", "unknown limits policy 7; use BEST_EFFORT or STRICT"),
    ("docstring", "JobNotFound: there is none.", "JobNotFound: no job has this id."),
    (
        "message",
        "processes that serve clients; auto is one a core",
        "Number of API processes; `auto` starts one per core.",
    ),
    ("message", "As the option before the verb", "Same as the global option --server."),
    ("message", "once more, and it is left alone", "Press Ctrl-C again to detach; the job keeps running."),
    (
        "message",
        "It runs as user 1899999999, who has no account",
        "It runs as UID 1899999999, which no account uses.",
    ),
    (
        "message",
        "The folder with ca.pem, ROLE.pem and ROLE-key.pem.",
        "Directory containing ca.pem, ROLE.pem and ROLE-key.pem.",
    ),
    (
        "comment",
        "on the whole-disk device(s) of what has no limit nobody need know that it could have none",
        "Jobs without an I/O limit do not report missing devices.",
    ),
    ("message", "Our certificate's key.", "Client key file (PEM)."),
    (
        "comment",
        "Who is cut off before the first output must know from where on to ask for it again.",
        "A client that is cut off before its first chunk needs the start offset to resume.",
    ),
    (
        "comment",
        "Once the answer is on its way, which is when this task waits again.",
        "Runs after the response has been queued (next loop iteration).",
    ),
    ("prose", "Bytes a second, over all readers.", "Bytes per second, over all readers."),
    ("prose", "It waits for 10 jobs a second.", "It waits a second, then a second time."),
    ("prose", "which is no client's to set", "There is no file."),
    ("prose", "Nothing of this is kept.", "The limit is no longer in force, and is no larger than 10."),
    ("prose", "The job goes on after that.", "The client goes on to the next address."),
    ("prose", "The stream is taken up at that byte.", "The stream resumes at that byte."),
    ("prose", "It names the file and the cure.", "It names the file and the remedy."),
    ("prose", "No server is there.", "Is there a file?"),
    ("docstring", "They are closed.", "Close the descriptors."),
    ("prose", "What a job writes goes to its log.", "What does a job write? Its output."),
    ("prose", "one " * 31 + "end.", "one " * 29 + "end. " + "One " * 29 + "end."),
]


def _load() -> ModuleType:
    loader = importlib.machinery.SourceFileLoader("check_prose", str(TOOL))
    spec = importlib.util.spec_from_loader("check_prose", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["check_prose"] = module
    loader.exec_module(module)
    return module


check_prose = _load()


def _found(name: str, source: str) -> list[tuple[int, str]]:
    return [(finding.line, finding.found) for finding in check_prose.check_file(name, source)]


@pytest.mark.parametrize(("kind", "before", "after"), PAIRS)
def test_the_phrase_is_found_and_the_plain_one_passes(kind: str, before: str, after: str) -> None:
    assert list(check_prose.check_text(check_prose.Text(1, kind, before)))
    assert not list(check_prose.check_text(check_prose.Text(1, kind, after)))


def test_python_docstrings_comments_and_messages_are_checked() -> None:
    source = '''"""What it does."""

# There was a first line here,
# whoever wrote it.
x = "is no " "number"  # whoever


def f(name: str) -> str:
    """Return f"{name}"."""
    return f"{name} is no user", "whoever", "#"
'''
    assert _found("a.py", source) == [
        (1, "What it does."),
        (1, "What it does."),
        (3, "whoever"),
        (5, "is no number"),
        (5, "whoever"),
        (10, "is no user"),
    ]


def test_code_is_not_checked() -> None:
    source = "Use `whoever`.\n\n```sh\nwhoever\n```\n\n| `is no x` | Whoever |\n|---|---|\n"
    assert _found("a.md", source) == [(7, "Whoever")]


def test_code_at_the_edges_of_a_docstring_is_not_checked() -> None:
    assert _found("a.py", '"""`whoever`, then `whatever`: `whoever`"""\n') == []


def test_an_abbreviation_that_begins_with_a_pronoun_is_not_one() -> None:
    assert list(check_prose.check_text(check_prose.Text(1, "docstring", "I limit bytes.")))
    assert not list(check_prose.check_text(check_prose.Text(1, "docstring", "I/O limit in bytes.")))


def test_paragraphs_of_markdown_are_joined_and_list_items_are_not() -> None:
    words = "word " * 20
    assert _found("a.md", f"- {words}\n- {words}\n") == []
    assert [line for line, _ in _found("a.md", f"Title\n\n{words}\n{words}\n")] == [3]


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("a.proto", "// What it is.\nmessage A {}\n"),
        ("a.go", "package a\n\n// A is closed by whoever opened it.\ntype A struct{}\n"),
        ("a.ts", "/**\n * Closed by whoever opened it.\n */\nconst a = 1\n"),
        ("Makefile", "all:  ## Tell whoever asks\n\ttrue # whoever\n"),
        ("a.yml", "a: 1 # whoever needs it\n"),
        ("tool", "#!/bin/sh\n# whoever calls it\n"),
    ],
)
def test_comments_of_each_language_are_checked(name: str, source: str) -> None:
    assert _found(name, source)


def test_settings_and_directives_in_comments_are_not_prose() -> None:
    source = "# " + "word " * 20 + "\n#key = 1\n# " + "word " * 20 + "\n"
    assert _found("a.toml", source) == []


def test_findings_are_printed_and_set_the_exit_status() -> None:
    clean = subprocess.run([TOOL, "tests/unit/tools"], check=False, capture_output=True, text=True)
    assert (clean.returncode, clean.stdout) == (0, "")
    page = TOOL.parent / "page-of-the-test.md"
    page.write_text("Ask whoever knows.\n")
    try:
        found = subprocess.run([TOOL, page], check=False, capture_output=True, text=True)
    finally:
        page.unlink()
    assert (found.returncode, found.stdout) == (
        1,
        "tools/page-of-the-test.md:1: \"whoever\": name the subject: 'the process that …'\n",
    )
