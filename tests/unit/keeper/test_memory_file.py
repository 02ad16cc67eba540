"""Files in memory have their whole content, or do not exist."""

import errno
import os

import pytest
from host_resources import descriptors, opened_since

from jobworkerd.keeper import memory_file

CONTENT = bytes(range(256)) * 8


def test_the_content_is_read_whatever_the_position() -> None:
    file = memory_file.create("test", CONTENT)
    os.lseek(file, 1_000, os.SEEK_SET)
    assert [memory_file.read(file) for _ in range(2)] == [CONTENT] * 2
    assert os.lseek(file, 0, os.SEEK_CUR) == 1_000
    os.close(file)


@pytest.mark.parametrize("inheritable", [False, True])
def test_the_inheritance_is_as_requested(*, inheritable: bool) -> None:
    file = memory_file.create("test", b"", inheritable=inheritable)
    assert os.get_inheritable(file) is inheritable
    os.close(file)


def test_the_rest_of_a_partial_write_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, content: write(file, content[:1_000]))
    file = memory_file.create("test", CONTENT)
    assert memory_file.read(file) == CONTENT
    os.close(file)


def test_a_file_without_memory_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    def write(*_: object) -> int:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    before = descriptors()
    monkeypatch.setattr(os, "write", write)
    with pytest.raises(OSError, match="Cannot allocate memory"):
        memory_file.create("test", CONTENT)
    assert not opened_since(before)
