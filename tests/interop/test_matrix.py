"""The matrix shows how each cell came out, and why a cell is not there."""

from tests.interop import matrix


def test_each_cell_is_shown() -> None:
    cells = {("Go", "get"): "passed", ("Python", "get"): "failed", ("grpcurl", "wait"): "error"}
    head, *rows = matrix.render(cells).splitlines()
    assert head.split() == ["Python", "asyncio", "Go", "TypeScript", "grpcurl", "buf", "curl"]
    by_name = {row[: head.index("Python")].strip(): row[head.index("Python") :].split() for row in rows}
    assert by_name["get"] == ["FAILED", "-", "ok", "-", "-", "-"]
    assert by_name["wait"] == ["-", "-", "-", "-", "ERROR", "-"]


def test_what_does_not_apply_has_its_reason() -> None:
    text = matrix.render({})
    (row,) = [line for line in text.splitlines() if line.startswith("follow 64 MiB")]
    assert row.endswith("n/a (1)  n/a (1)")
    assert text.splitlines()[-1].startswith("(1) not applicable: ")
