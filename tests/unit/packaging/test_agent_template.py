"""packaging/agent.toml names every setting of the agent."""

import re
from pathlib import Path

from jobworker_agent.settings import LIST, NUMBERS, TEXTS, read_file

TEMPLATE = Path(__file__).parents[3] / "packaging/agent.toml"


def test_the_template_changes_nothing() -> None:
    assert read_file(TEMPLATE) == {LIST: []}


def test_the_template_has_every_setting_with_a_value_that_is_accepted(tmp_path: Path) -> None:
    file = tmp_path / "agent.toml"
    file.write_text(re.sub(r"^#(?=\S)", "", TEMPLATE.read_text(), flags=re.MULTILINE))
    assert {*read_file(file)} == {*TEXTS, *NUMBERS, LIST}
