"""`jobworker context`: which server and which certificates a verb takes, and who said so."""

import stat
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Cli, Listening

HERE = str(Path("ca.pem").absolute())
VARIABLES = ("JOBWORKER_SERVER", "JOBWORKER_CERTS")


@pytest.fixture
def bare(cli: Cli) -> Cli:
    """The command in an environment that says nothing of the server."""
    for name in VARIABLES:
        del cli.env[name]
    return cli


def file_of(cli: Cli) -> Path:
    """The file with the contexts."""
    return Path(cli.env["HOME"]) / ".config/jobworker/contexts.toml"


async def origins(cli: Cli, *words: str) -> dict[str, tuple[str, str]]:
    """What `context show` says: a value and its origin for each setting."""
    shown = await cli(*words)
    assert shown.code == 0, shown.stderr
    rows = [line.split(maxsplit=2) for line in shown.text.splitlines()]
    return {name: (value, origin) for name, value, origin in rows}


async def test_a_context_in_use_is_where_a_verb_goes(bare: Cli, listening: Listening) -> None:
    address = f"localhost:{listening.port}"
    added = await bare("context", "add", "here", "--server", address, "--certs", str(bare.certs), "--use")
    assert (added.code, added.stderr) == (0, "")
    assert (await bare("list")).code == 0
    listed = await bare("context", "list")
    assert listed.text == f"* here  {address}\n"


async def test_the_file_is_the_users_alone_and_under_xdg(bare: Cli, tmp_path: Path) -> None:
    bare.env["XDG_CONFIG_HOME"] = str(tmp_path / "xdg")
    await bare("context", "add", 'a "b"\x7f', "--server", "x:1")
    file = tmp_path / "xdg/jobworker/contexts.toml"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert not file_of(bare).exists()
    assert (await bare("context", "list")).text == '  a "b"\\x7f  x:1\n'
    assert [entry.name for entry in file.parent.iterdir()] == ["contexts.toml"]


async def test_each_value_has_its_origin(bare: Cli) -> None:
    await bare("context", "add", "prod", "--server", "jobs:1", "--role", "viewer", "--ca", "/ca.pem", "--use")
    bare.env["JOBWORKER_ROLE"] = "admin"
    found = await origins(bare, "--server-name", "worker", "context", "show")
    assert found == {
        "server": ("jobs:1", "context prod"),
        "certs": ("/opt/job-worker/certs", "default"),
        "role": ("admin", "JOBWORKER_ROLE"),
        "ca": ("/opt/job-worker/certs/ca.pem", "of the folder: default"),
        "cert": ("/opt/job-worker/certs/admin.pem", "of the folder: default"),
        "key": ("/opt/job-worker/certs/admin-key.pem", "of the folder: default"),
        "server_name": ("worker", "--server-name"),
    }


async def test_an_option_goes_before_the_named_context_before_the_environment_before_the_one_in_use(
    bare: Cli,
) -> None:
    await bare("context", "add", "used", "--server", "used:1", "--use")
    await bare("context", "add", "named", "--server", "named:1")
    assert (await origins(bare, "context", "show"))["server"] == ("used:1", "context used")
    assert (await origins(bare, "context", "show", "named"))["server"] == ("named:1", "context named")
    bare.env["JOBWORKER_SERVER"] = "env:1"
    assert (await origins(bare, "context", "show"))["server"] == ("env:1", "JOBWORKER_SERVER")
    named = ["--context", "named"]
    assert (await origins(bare, *named, "context", "show"))["server"] == ("named:1", "context named")
    with_option = [*named, "--server", "option:1"]
    assert (await origins(bare, *with_option, "context", "show"))["server"] == ("option:1", "--server")


async def test_a_folder_goes_before_the_files_of_a_context(bare: Cli) -> None:
    await bare("context", "add", "files", "--key", "/k.pem", "--cert", "/c.pem", "--use")
    assert (await origins(bare, "context", "show"))["key"] == ("/k.pem", "context files")
    found = await origins(bare, "--certs", "/folder", "context", "show")
    assert found["key"] == ("/folder/admin-key.pem", "of the folder: --certs")


async def test_paths_mean_the_same_from_any_directory(bare: Cli) -> None:
    await bare("context", "add", "here", "--ca", "ca.pem", "--use")
    assert (await origins(bare, "context", "show"))["ca"][0] == HERE


async def test_a_key_that_others_can_read_is_refused_with_the_cure(
    bare: Cli, listening: Listening, tmp_path: Path
) -> None:
    for file in bare.certs.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    key = tmp_path / "admin-key.pem"
    key.chmod(0o644)
    words = ["context", "add", "open", "--certs", str(tmp_path), "--server", f"localhost:{listening.port}"]
    told = f"error: the key {key} can be read by others\nhint: chmod 600 {key}\n"
    refused = await bare(*words, "--use")
    assert (refused.code, refused.stderr) == (1, told)
    assert not file_of(bare).exists()
    key.chmod(0o600)
    assert (await bare(*words, "--use")).code == 0
    key.chmod(0o604)
    used = await bare("list")
    assert (used.code, used.stderr) == (1, told)


@pytest.mark.parametrize(
    "words", [["context", "use", "x"], ["--context", "x", "list"], ["context", "show", "x"]]
)
async def test_an_unknown_context_names_those_that_there_are(bare: Cli, words: list[str]) -> None:
    await bare("context", "add", "other")
    result = await bare(*words)
    assert result.code == 1
    assert result.stderr == ('error: no context "x"\nhint: `jobworker context list` shows them: other\n')


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("current = [", "cannot read the contexts in "),
        ("contexts = 3", "are not tables such as [contexts.prod]"),
        ("[contexts]\nprod = 3", "are not tables such as [contexts.prod]"),
        ("[contexts.prod]\nserver = 3", 'context "prod": server is not one of the texts server, certs'),
        ("[contexts.prod]\nport = '3'", 'context "prod": port is not one of the texts server, certs'),
    ],
)
async def test_a_file_that_is_wrong_is_told(bare: Cli, content: str, told: str) -> None:
    file_of(bare).parent.mkdir(parents=True)
    file_of(bare).write_text(content)
    for words in (["list"], ["context", "list"]):
        result = await bare(*words)
        assert result.code == 1
        assert told in result.stderr
        assert "Traceback" not in result.stderr
