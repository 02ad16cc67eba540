"""Sizes with a unit in the configuration file and the environment."""

from pathlib import Path

import pytest

from jobworkerd.settings.resolve import SettingsError, resolve_settings
from jobworkerd.settings.sizes import size_in


@pytest.mark.parametrize(
    ("unit", "value", "amount"),
    [
        (1, "64K", 65_536), (1, "1.5g", 3 * 2**29), (1, "2GiB", 2**31), (1, "7B", 7), (2**20, "1G", 1_024),
        (2**20, "0.5G", 512), (1, "10", "10"), (1, 10, 10), (1, "1P", "1P"), (1, "-1M", "-1M"), (1, "", ""),
    ],
)  # fmt: skip
def test_a_size_is_converted_to_the_unit(unit: int, value: object, amount: object) -> None:
    assert size_in(unit, value) == amount


def test_sizes_in_the_file_and_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('[log]\nmax_total_bytes = "64G"\n[defaults]\nmax_memory = "1G"\n')
    config = resolve_settings(file, {"JOBWORKERD_SCRATCH_DEFAULT": "128M"}, {}).config
    assert config.log.max_total_bytes == 64 * 2**30
    assert config.defaults.max_memory == 1_024
    assert config.scratch.default == 128


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('max_memory = "512K"', 'defaults.max_memory: "512K" .*not a whole number of MiB'),
        ('max_memory = "0.0001G"', "not a whole number of MiB"),
        ('max_memory = "32T"', "use a whole number from 1 to 16777216, or a size such as 1M"),
        ('max_memory = "512"', "or a size such as 1M"),
        ('max_pids = "1K"', "use a whole number from 0 to 4194304$"),
    ],
)
def test_invalid_sizes_are_refused(tmp_path: Path, line: str, message: str) -> None:
    file = tmp_path / "config.toml"
    file.write_text(f"[defaults]\n{line}\n")
    with pytest.raises(SettingsError, match=message):
        resolve_settings(file, {}, {})
