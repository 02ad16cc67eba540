"""Lists of cores in the kernel's format."""

import pytest

from jobworkerd import cores


@pytest.mark.parametrize(
    ("text", "found", "written"),
    [
        ("", set(), ""),
        ("3", {3}, "3"),
        ("0-1,3", {0, 1, 3}, "0-1,3"),
        ("3,2,1,1-2", {1, 2, 3}, "1-3"),
        ("8191", {8191}, "8191"),
    ],
)
def test_lists(text: str, found: set[int], written: str) -> None:
    assert cores.parse(text) == found
    assert cores.to_text(cores.parse(text)) == written


@pytest.mark.parametrize("text", [",", "0,", "a", "-1", "1-", "0-7:2/4", "0 1", "8192", "99999", "2-1", "٣"])
def test_invalid_lists(text: str) -> None:
    with pytest.raises(ValueError, match=r"core|ends"):
        cores.parse(text)
