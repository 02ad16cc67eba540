"""Tests of the queries that are removed from old output of a terminal."""

import pytest

from jobworker_cli.stream.terminal_queries import QueryFilter

QUERIES = [
    b"\x05",
    b"\x1bZ",
    b"\x1b[c",
    b"\x1b[>0c",
    b"\x1b[6n",
    b"\x1b[?6n",
    b"\x1b[?2026$p",
    b"\x1b[>q",
    b"\x1b[?u",
    b"\x1b[18t",
    b"\x1b]11;?\x07",
    b"\x1b]52;c;?\x1b\\",
    b"\x1bP+q544e\x1b\\",
    b"\x1bP$qm\x1b\\",
]
OTHERS = [
    b"\x1b[1;31m",
    b"\x1b[?1049h",
    b"\x1b[22;0t",
    b"\x1b[2 q",
    b"\x1b]0;why?title\x07",
    b"\x1b[>1u",
    b"n c",
]


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_is_removed_wherever_it_is_split(query: bytes) -> None:
    output = b"before" + query + b"after"
    for split in range(len(output) + 1):
        queries = QueryFilter()
        assert queries.feed(output[:split]) + queries.feed(output[split:]) == b"beforeafter", split


@pytest.mark.parametrize("output", OTHERS)
def test_other_output_is_unchanged(output: bytes) -> None:
    for split in range(len(output) + 1):
        queries = QueryFilter()
        assert queries.feed(output[:split]) + queries.feed(output[split:]) + queries.flush() == output


def test_the_beginning_of_a_sequence_waits_for_its_rest() -> None:
    queries = QueryFilter()
    assert queries.feed(b"text\x1b[") == b"text"
    assert queries.flush() == b"\x1b["
    assert queries.flush() == b""
