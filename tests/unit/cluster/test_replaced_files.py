"""Files that are replaced, one after the other."""

from pathlib import Path

from jobworker_cluster.replaced_files import UnusableFiles, version


def test_a_version_changes_with_each_file(tmp_path: Path) -> None:
    files = [tmp_path / name for name in "ab"]
    for each in files:
        each.write_text("1")
    seen = [version(files)]
    assert version(files) == seen[0]
    for each in files:
        (tmp_path / "new").write_text("1")
        (tmp_path / "new").rename(each)
        seen.append(version(files))
    files[0].unlink()
    seen.append(version(files))
    assert len(set(seen)) == 4
    assert seen[-1] == ()


def test_files_are_reported_when_they_stay_unusable() -> None:
    unusable = UnusableFiles()
    assert not unusable.is_due((1,))
    assert not unusable.is_due((2,))
    assert unusable.is_due((2,))
    assert not unusable.is_due((2,))
    assert not unusable.is_due((3,))
    assert unusable.is_due((3,))
    unusable.clear()
    assert not unusable.is_due((3,))
    assert unusable.is_due((3,))
