"""Columns stay columns whatever the texts in them take on a terminal."""

import pytest

from jobworker.v1 import job_pb2
from jobworker_cli.render.cells import cut, pad, width_of
from jobworker_cli.render.views import jobs_table, table


@pytest.mark.parametrize(
    ("text", "width"),
    [("", 0), ("abc", 3), ("日本語", 6), ("\uff21", 2), ("ｶﾅ", 2), ("é", 1), ("e\u0301", 1), ("각", 2),
     ("🚀", 2), ("\u1112\u1161\u11ab", 2), ("±…", 2)],
)  # fmt: skip
def test_the_width_of_a_text(text: str, width: int) -> None:
    assert width_of(text) == width
    assert pad(text, 10) == text + " " * (10 - width)


@pytest.mark.parametrize(
    ("text", "room", "shown"),
    [("abc", 3, "abc"), ("abcd", 3, "ab…"), ("日本語", 6, "日本語"), ("日本語", 5, "日本…"),
     ("日本語", 4, "日…"), ("日本語", 1, "…"), ("e\u0301abc", 3, "e\u0301a…")],
)  # fmt: skip
def test_a_text_is_cut_between_characters(text: str, room: int, shown: str) -> None:
    assert cut(text, room) == shown
    assert width_of(shown) <= room


def column(text: str, cell: str) -> int:
    """Returns where on a terminal a cell begins."""
    return width_of(text[: text.index(cell)])


def test_columns_are_aligned_by_what_is_seen() -> None:
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
def test_no_line_is_wider_than_the_terminal(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("NO_COLOR", "1")
    job = job_pb2.Job(id="0" * 36, status=job_pb2.JOB_STATUS_RUNNING, command="印刷", args=["日本語"] * 20)
    for line in jobs_table([job]).splitlines():
        assert 0 < width_of(line) <= columns
