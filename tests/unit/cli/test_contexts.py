"""Tests of `jobworker context` and of the priority of settings."""

import stat
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Cli, Endpoint

HERE = str(Path("ca.pem").absolute())
VARIABLES = ("JOBWORKER_SERVER", "JOBWORKER_CERTS")


@pytest.fixture
def bare(cli: Cli) -> Cli:
    """Remove the variables that name the server and its certificates."""
    for name in VARIABLES:
        del cli.env[name]
    return cli


def file_of(cli: Cli) -> Path:
    """Return the file of the contexts."""
    return Path(cli.env["HOME"]) / ".config/jobworker/contexts.toml"


async def origins(cli: Cli, *words: str) -> dict[str, tuple[str, str]]:
    """Return the value and the origin of each setting from `context show`."""
    shown = await cli(*words)
    assert shown.code == 0, shown.stderr
    rows = [line.split(maxsplit=2) for line in shown.text.splitlines()]
    return {name: (value, origin) for name, value, origin in rows}


async def test_subcommand_uses_the_current_context(bare: Cli, endpoint: Endpoint) -> None:
    address = f"localhost:{endpoint.port}"
    added = await bare("context", "add", "here", "--server", address, "--certs", str(bare.certs), "--use")
    assert (added.code, added.stderr) == (0, "")
    assert (await bare("list")).code == 0
    listed = await bare("context", "list")
    assert listed.text == f"* here  {address}\n"


async def test_file_is_private_and_in_the_xdg_directory(bare: Cli, tmp_path: Path) -> None:
    bare.env["XDG_CONFIG_HOME"] = str(tmp_path / "xdg")
    await bare("context", "add", 'a "b"\x7f', "--server", "x:1")
    file = tmp_path / "xdg/jobworker/contexts.toml"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert not file_of(bare).exists()
    assert (await bare("context", "list")).text == '  a "b"\\x7f  x:1\n'
    assert [entry.name for entry in file.parent.iterdir()] == ["contexts.toml"]


async def test_show_prints_the_origin_of_each_value(bare: Cli) -> None:
    await bare("context", "add", "prod", "--server", "jobs:1", "--role", "viewer", "--ca", "/ca.pem", "--use")
    bare.env["JOBWORKER_ROLE"] = "admin"
    found = await origins(bare, "--server-name", "worker", "context", "show")
    assert found == {
        "server": ("jobs:1", "context prod"),
        "certs": ("/opt/job-worker/certs", "default"),
        "role": ("admin", "JOBWORKER_ROLE"),
        "ca": ("/opt/job-worker/certs/ca.pem", "in the directory: default"),
        "cert": ("/opt/job-worker/certs/admin.pem", "in the directory: default"),
        "key": ("/opt/job-worker/certs/admin-key.pem", "in the directory: default"),
        "server_name": ("worker", "--server-name"),
    }


async def test_priority_of_option_named_context_environment_and_current_context(
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


async def test_directory_option_overrides_the_files_of_a_context(bare: Cli) -> None:
    await bare("context", "add", "files", "--key", "/k.pem", "--cert", "/c.pem", "--use")
    assert (await origins(bare, "context", "show"))["key"] == ("/k.pem", "context files")
    found = await origins(bare, "--certs", "/directory", "context", "show")
    assert found["key"] == ("/directory/admin-key.pem", "in the directory: --certs")


async def test_relative_path_becomes_absolute(bare: Cli) -> None:
    await bare("context", "add", "here", "--ca", "ca.pem", "--use")
    assert (await origins(bare, "context", "show"))["ca"][0] == HERE


async def test_key_that_other_users_can_read_is_refused(
    bare: Cli, endpoint: Endpoint, tmp_path: Path
) -> None:
    for file in bare.certs.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    key = tmp_path / "admin-key.pem"
    key.chmod(0o644)
    words = ["context", "add", "open", "--certs", str(tmp_path), "--server", f"localhost:{endpoint.port}"]
    message = f"error: other users can read the key {key}\nhint: run: chmod 600 {key}\n"
    refused = await bare(*words, "--use")
    assert (refused.code, refused.stderr) == (1, message)
    assert not file_of(bare).exists()
    key.chmod(0o600)
    assert (await bare(*words, "--use")).code == 0
    key.chmod(0o604)
    used = await bare("list")
    assert (used.code, used.stderr) == (1, message)


@pytest.mark.parametrize(
    "words", [["context", "use", "x"], ["--context", "x", "list"], ["context", "show", "x"]]
)
async def test_unknown_context_lists_the_known_ones(bare: Cli, words: list[str]) -> None:
    await bare("context", "add", "other")
    result = await bare(*words)
    assert result.code == 1
    assert result.stderr == ('error: no context has the name "x"\nhint: use one of: other\n')


async def test_a_file_that_cannot_be_read_is_named_once(bare: Cli) -> None:
    file_of(bare).mkdir(parents=True)
    result = await bare("context", "list")
    assert result.code == 1
    assert result.stderr == f"error: cannot read the contexts in {file_of(bare)}: Is a directory\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("current = [", "cannot read the contexts in "),
        ("contexts = 3", "a context is not a table; write it as [contexts.NAME]"),
        ("[contexts]\nprod = 3", "a context is not a table; write it as [contexts.NAME]"),
        (
            "[contexts.prod]\nserver = 3",
            'context "prod": server is unknown or not a string; use server, certs',
        ),
        ("[contexts.prod]\nport = '3'", 'context "prod": port is unknown or not a string; use server, certs'),
    ],
)
async def test_invalid_file_is_reported(bare: Cli, content: str, message: str) -> None:
    file_of(bare).parent.mkdir(parents=True)
    file_of(bare).write_text(content)
    for words in (["list"], ["context", "list"]):
        result = await bare(*words)
        assert result.code == 1
        assert message in result.stderr
        assert "Traceback" not in result.stderr
