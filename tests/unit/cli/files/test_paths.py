"""Tests of PATH[:DEST]."""

from pathlib import Path

import pytest

from jobworker_cli.files.paths import Download, Upload, parse_download, parse_upload


@pytest.mark.parametrize(
    ("text", "source", "directory", "name"),
    [
        ("train.py", "train.py", ".", "train.py"),
        ("/srv/data", "/srv/data", ".", "data"),
        ("data/", "data", ".", "data"),
        ("data:work", "data", ".", "work"),
        ("data:/tmp/in/work", "data", "/tmp/in", "work"),
        ("data:/work", "data", "/", "work"),
        ("data:in/", "data", "in/", "data"),
        ("data:.", "data", ".", "data"),
        ("data:..", "data", "..", "data"),
        (".", ".", ".", ""),
        (".:work", ".", ".", "work"),
        ("..:in/", "..", "in/", ""),
        ("/:root", "/", ".", "root"),
        ("a:b:c", "a:b", ".", "c"),
        ("a:b:", "a:b", ".", "a:b"),
        ("-x:-y", "-x", ".", "-y"),
    ],
)
def test_upload(text: str, source: str, directory: str, name: str) -> None:
    assert parse_upload(text) == Upload(Path(source), directory, name)


@pytest.mark.parametrize(
    ("text", "path", "destination"),
    [
        ("out", "out", "out"),
        ("/tmp/out/", "/tmp/out/", "out"),
        ("out:results/1", "out", "results/1"),
        ("out:results/", "out", "results/out"),
        ("out:.", "out", "out"),
        (".:results", ".", "results"),
        ("a:b:", "a:b", "a:b"),
    ],
)
def test_download(text: str, path: str, destination: str) -> None:
    assert parse_download(text) == Download(path, Path(destination))


@pytest.mark.parametrize("text", ["", ":", ":dest"])
def test_path_is_required(text: str) -> None:
    for parse in (parse_upload, parse_download):
        with pytest.raises(ValueError, match="no PATH; use PATH or PATH:DEST"):
            parse(text)


@pytest.mark.parametrize("text", [".", "..", "/", ".:dir/", "..:."])
def test_download_needs_a_name(text: str) -> None:
    with pytest.raises(ValueError, match="no name for the local copy; use PATH:DEST"):
        parse_download(text)
