"""Tests of the interop matrix."""

from tests.interop import matrix


def test_matrix_shows_the_outcome_of_each_cell() -> None:
    outcomes = {("Go", "get"): "passed", ("Python", "get"): "failed", ("grpcurl", "wait"): "error"}
    header, *rows = matrix.render(outcomes).splitlines()
    assert header.split() == ["Python", "asyncio", "Go", "TypeScript", "grpcurl", "buf", "curl"]
    by_name = {row[: header.index("Python")].strip(): row[header.index("Python") :].split() for row in rows}
    assert by_name["get"] == ["FAILED", "-", "ok", "-", "-", "-"]
    assert by_name["wait"] == ["-", "-", "-", "-", "ERROR", "-"]


def test_matrix_shows_why_a_cell_does_not_apply() -> None:
    text = matrix.render({})
    rows = {name: _row(text, name) for name in ("watch   ", "stream 64 MiB", "error: revoked")}
    assert rows["watch   "].endswith("n/a (1)  n/a (1)")
    assert rows["stream 64 MiB"].endswith("n/a (2)  n/a (2)")
    assert rows["error: revoked"].endswith("n/a (3)  n/a (3)")
    reasons = [line.partition(": ")[0] for line in text.splitlines()[-3:]]
    assert reasons == [f"({number}) not applicable" for number in (1, 2, 3)]


def _row(text: str, start: str) -> str:
    (row,) = [line for line in text.splitlines() if line.startswith(start)]
    return row
