"""Tests of the marks in the stdout of a job."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobworker_cli.files.script import Mark, MarkSplitter

TOKEN = "token"


def split(*parts: bytes) -> tuple[bytes, list[tuple[str, ...]]]:
    """Return the bytes that are not marks, and the words of the marks."""
    splitter = MarkSplitter(TOKEN)
    found = [each for part in parts for each in splitter.feed(part)]
    output = b"".join(each for each in found if isinstance(each, bytes)) + splitter.rest()
    return output, [each.words for each in found if isinstance(each, Mark)]


@pytest.mark.parametrize(
    ("data", "output", "marks"),
    [
        (b"", b"", []),
        (b"no mark", b"no mark", []),
        (b"token begin file\n", b"", [("begin", "file")]),
        (b"atoken b\nctoken d\ne", b"ace", [("b",), ("d",)]),
        (b"toktoken b\n", b"tok", [("b",)]),
        (b"token without end", b"token without end", []),
        (b"tokens are not marks\n", b"tokens are not marks\n", []),
    ],
)
def test_marks_and_output(data: bytes, output: bytes, marks: list[tuple[str, ...]]) -> None:
    assert split(data) == (output, marks)
    assert split(*(data[place : place + 1] for place in range(len(data)))) == (output, marks)


@given(st.lists(st.sampled_from([b"token ", b"tok", b"en ", b"\n", b"x", b"token a\n"]), max_size=20))
def test_pieces_of_any_size_are_the_same_as_one(parts: list[bytes]) -> None:
    assert split(*parts) == split(b"".join(parts))


def test_output_is_not_delayed() -> None:
    splitter = MarkSplitter(TOKEN)
    assert splitter.feed(b"prompt> ") == [b"prompt> "]
    assert splitter.feed(b"50% to") == [b"50% "]
    assert splitter.feed(b"do") == [b"todo"]


def test_a_token_without_an_end_does_not_collect_output() -> None:
    splitter = MarkSplitter(TOKEN)
    splitter.feed(b"token ")
    for _ in range(100):
        splitter.feed(bytes(1_000))
    assert len(splitter.rest()) < 1_000


def test_a_mark_has_its_bytes() -> None:
    [mark] = MarkSplitter(TOKEN).feed(b"token packed 0\n")
    assert mark == Mark(("packed", "0"), b"token packed 0\n")
