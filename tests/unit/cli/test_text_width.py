"""Tests of column alignment with wide and combining characters."""

import pytest

from jobworker.v1 import job_pb2
from jobworker_cli.render.tables import jobs_table, table
from jobworker_cli.render.text_width import pad, shorten, text_width


@pytest.mark.parametrize(
    ("text", "width"),
    [("", 0), ("abc", 3), ("日本語", 6), ("\uff21", 2), ("ｶﾅ", 2), ("é", 1), ("e\u0301", 1), ("각", 2),
     ("🚀", 2), ("\u1112\u1161\u11ab", 2), ("±…", 2)],
)  # fmt: skip
def test_text_width(text: str, width: int) -> None:
    assert text_width(text) == width
    assert pad(text, 10) == text + " " * (10 - width)


@pytest.mark.parametrize(
    ("text", "room", "shown"),
    [("abc", 3, "abc"), ("abcd", 3, "ab…"), ("日本語", 6, "日本語"), ("日本語", 5, "日本…"),
     ("日本語", 4, "日…"), ("日本語", 1, "…"), ("e\u0301abc", 3, "e\u0301a…")],
)  # fmt: skip
def test_text_is_shortened_between_characters(text: str, room: int, shown: str) -> None:
    assert shorten(text, room) == shown
    assert text_width(shown) <= room


def column(text: str, cell: str) -> int:
    """Return the terminal column in which a cell begins."""
    return text_width(text[: text.index(cell)])


def test_columns_are_aligned_by_width() -> None:
    head, first, second = table([("NAME", "B"), ("日本語", "x"), ("abc", "y")]).splitlines()
    assert column(head, "B") == column(first, "x") == column(second, "y") == 8


def test_wide_columns_of_jobs_are_aligned() -> None:
    jobs = [
        job_pb2.Job(id=str(number), owner=owner, labels={"k": label}, command="run")
        for number, (owner, label) in enumerate([("CN=山田", "値"), ("CN=someone", "v")])
    ]
    _, first, second = jobs_table(jobs, wide=True).splitlines()
    assert column(first, "run") == column(second, "run")


@pytest.mark.parametrize("columns", [1, 5, 20, 40, 60, 100])
def test_lines_fit_the_terminal(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("NO_COLOR", "1")
    job = job_pb2.Job(id="0" * 36, status=job_pb2.JOB_STATUS_RUNNING, command="印刷", args=["日本語"] * 20)
    for line in jobs_table([job]).splitlines():
        assert 0 < text_width(line) <= columns
