"""The example file, the documentation and the unit agree with the program."""

import configparser
import json
import re
from pathlib import Path

import pytest

from jobworkerd.commands.config import toml_value
from jobworkerd.config import Config
from jobworkerd.settings.keys import Key, all_keys
from jobworkerd.settings.options import FLAGS
from jobworkerd.settings.resolve import resolve_settings

ROOT = Path(__file__).parents[3]
EXAMPLE = (ROOT / "packaging/config.toml").read_text()
DOCUMENTATION, _, _ = (ROOT / "docs/configuration.md").read_text().partition("## Gateway of a cluster")
UNIT = (ROOT / "packaging/jobworkerd.service").read_text()


def uncommented(text: str) -> str:
    return re.sub(r"^#(\w+ = )", r"\1", text, flags=re.MULTILINE)


def test_the_example_has_every_key_at_its_default(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(uncommented(EXAMPLE))
    found = resolve_settings(file, {}, {})
    assert set(found.sources.values()) == {f"file {file}"}
    assert found.config == Config()


def test_the_unmodified_example_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(EXAMPLE)
    assert set(resolve_settings(file, {}, {}).sources.values()) == {"default"}


@pytest.mark.parametrize("key", all_keys(), ids=lambda key: key.name)
def test_the_documentation_describes_the_key(key: Key) -> None:
    row = next(line for line in DOCUMENTATION.splitlines() if line.startswith(f"| `{key.name}` |"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[1] == f"`{toml_value(key.default)}`"
    assert cells[2] == key.accepted
    assert cells[3] == f"`{key.variable}`"
    assert (f"`{key.flag}`" in row) == (key.name in FLAGS)


def test_the_documentation_has_no_other_key() -> None:
    # The table of defaults without root has three columns.
    rows = re.findall(r"^\| `([a-z_.]+)` \|(?:[^|\n]*\|){3,}$", DOCUMENTATION, flags=re.MULTILINE)
    assert sorted(rows) == sorted(key.name for key in all_keys())


def test_the_unit_sets_known_settings_and_waits_long_enough() -> None:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign] # systemd's names have capitals
    parser.read_string(UNIT)
    service = parser["Service"]
    name, _, value = service["Environment"].partition("=")
    in_force = resolve_settings(None, {name: value.replace("%n", "jobworkerd.service")}, {}).config
    assert in_force.cgroup_base == "/sys/fs/cgroup/system.slice/jobworkerd.service"
    assert int(service["TimeoutStopSec"]) > in_force.shutdown_timeout + 15
    assert service["ExecStart"].endswith("/jobworkerd serve")


def test_toml_values_are_toml(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    path = '/ä"\\\x7f\t\n'
    file.write_text(f"state_dir = {toml_value(path)}\n")
    assert resolve_settings(file, {}, {}).config.state_dir == path
    assert json.loads(toml_value(["a", "b"])) == ["a", "b"]
