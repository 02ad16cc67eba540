"""Tests of the progress bar."""

import pytest

from jobworker_cli.files.progress import Progress


def test_progress() -> None:
    progress = Progress("uploading x", 4_096)
    progress.add(1_024)
    assert progress.line(progress._begin + 2, 80) == (
        "uploading x  [#####               ]  25%  1 KiB of 4 KiB  512 B/s"
    )
    unknown = Progress("downloading \x1b")
    unknown.add(1_024)
    assert unknown.line(unknown._begin + 2, 80) == r"downloading \x1b  1 KiB  512 B/s"
    assert unknown.line(unknown._begin + 2, 28) == r"downloading   1 KiB  512 B/s"


def test_nothing_is_printed_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress("uploading x", 4_096)
    progress._drawn -= 60
    progress.add(1_024)
    progress.close()
    assert capsys.readouterr().err == ""


def test_the_line_is_erased_at_the_end(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    progress = Progress("uploading x", 4_096)
    progress._drawn -= 60
    progress.add(1_024)
    progress.add(1_024)
    progress.close()
    drawn = capsys.readouterr().err.split("\x1b[K")
    assert [line[:11] for line in drawn] == ["", "uploading x", ""]
    assert drawn[1].endswith("\r")
