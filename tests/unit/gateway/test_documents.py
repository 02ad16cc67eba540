"""The template of the settings, their documentation, the flags and the unit agree with the code."""

import re
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from jobworker_gateway import main, settings
from jobworker_gateway.settings import GatewayConfig, gateway_keys, resolve
from jobworkerd.commands.config import toml_value
from jobworkerd.settings.keys import Key

ROOT = Path(__file__).parents[3]
TEMPLATE = (ROOT / "packaging/gateway.toml").read_text()
_, _, _AFTER = (ROOT / "docs/configuration.md").read_text().partition("## Gateway of a cluster")
DOCUMENTATION, _, _ = _AFTER.partition("\n## ")
HELP = CliRunner().invoke(main.app, ["--help"], terminal_width=200).output


def test_the_template_has_every_key_at_its_default(tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text(re.sub(r"^#(\w+ = )", r"\1", TEMPLATE, flags=re.MULTILINE))
    assert resolve(file, {}, {}) == GatewayConfig()
    given = tomllib.loads(file.read_text())
    for key in gateway_keys():
        if key.name != "queues":
            table = given
            for name in key.path[:-1]:
                table = table[name]
            assert key.path[-1] in table, f"{key.name} is missing"


def test_the_unmodified_template_changes_nothing(tmp_path: Path) -> None:
    tables = tomllib.loads(TEMPLATE)
    assert not any(value for value in tables.values() if not isinstance(value, dict))
    (tmp_path / "gateway.toml").write_text(TEMPLATE)
    assert resolve(tmp_path / "gateway.toml", {}, {}) == GatewayConfig()


@pytest.mark.parametrize("key", gateway_keys(), ids=lambda key: key.name)
def test_the_documentation_describes_the_key(key: Key) -> None:
    row = next(line for line in DOCUMENTATION.splitlines() if line.startswith(f"| `{key.name}` |"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    has_variable, has_flag = key.name != "queues", f" {key.flag} " in HELP
    assert cells == [
        f"`{key.name}`",
        f"`{toml_value(key.default)}`",
        key.accepted,
        f"`{key.variable}`" if has_variable else "",
        f"`{key.flag}`" if has_flag else "",
    ]


def test_the_documentation_has_no_other_key() -> None:
    rows = re.findall(r"^\| `([a-z_.]+)` \|", DOCUMENTATION, flags=re.MULTILINE)
    assert sorted(rows) == sorted(key.name for key in gateway_keys())


def test_the_default_file_is_that_of_the_documentation() -> None:
    assert f"`{settings.DEFAULT_FILE}`" in DOCUMENTATION
    assert str(settings.DEFAULT_FILE) in HELP
