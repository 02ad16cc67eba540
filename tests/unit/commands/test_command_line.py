"""Output and exit codes of the commands: 0, 1 with one sentence on stderr, and 2 for wrong usage."""

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from host_resources import descriptors, opened_since

from jobworkerd.commands import serve
from jobworkerd.config import Config, ScratchConfig, from_json, to_json
from jobworkerd.settings.resolve import SettingsError

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def one_sentence(err: str) -> str:
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    return err.removeprefix("error: ").removesuffix("\n")


@pytest.mark.parametrize("arguments", [(), ("certs",)])
def test_no_command_prints_the_help(run: Run, arguments: tuple[str, ...]) -> None:
    result = run(*arguments)
    assert result.returncode == 2
    assert "Usage: jobworkerd" in result.stdout + result.stderr


@pytest.mark.parametrize(
    "arguments", [(), ("serve",), ("config",), ("doctor",), ("health",), ("certs", "init")]
)
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help(run: Run, arguments: tuple[str, ...], flag: str) -> None:
    result = run(*arguments, flag)
    assert result.returncode == 0
    assert "Usage: jobworkerd" in result.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("serve", "--nonsense"),
        ("serve", "--api-processes", "many"),
        ("certs", "issue", "alice"),
        ("certs", "issue", "alice", "--role", "root"),
        ("certs", "issue", "alice", "--role", "admin", "--host", "a.example"),
        ("certs", "renew"),
        ("certs", "renew", "alice", "--all"),
        ("config", "-o", "xml"),
    ],
)
def test_wrong_usage_exits_with_2_and_a_message(run: Run, arguments: tuple[str, ...]) -> None:
    result = run(*arguments)
    assert result.returncode == 2
    assert "Error: " in result.stderr
    assert "Traceback" not in result.stderr


def test_the_output_of_config_is_an_equivalent_file(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOBWORKERD_IO_DEVICES", "/dev/a,/dev/b")
    printed = run("config", "--listen", "[::1]:0", "--api-processes", 3)
    assert printed.returncode == 0
    assert 'listen = "[::1]:0"  # flag --listen\n' in printed.stdout
    assert 'devices = ["/dev/a", "/dev/b"]  # environment JOBWORKERD_IO_DEVICES\n' in printed.stdout
    assert "max_jobs = 500  # default\n" in printed.stdout
    monkeypatch.delenv("JOBWORKERD_IO_DEVICES")
    file = tmp_path / "c.toml"
    file.write_text(printed.stdout)
    assert tomllib.loads(run("config", "--config", file).stdout) == tomllib.loads(printed.stdout)


def test_config_as_json(run: Run) -> None:
    result = run("config", "-o", "json", "--max-jobs", "3")
    found = json.loads(result.stdout)
    assert found["max_jobs"] == {"value": 3, "source": "flag --max-jobs"}
    assert found["defaults.limits_policy"] == {"value": "best_effort", "source": "default"}


@pytest.mark.parametrize("command", ["serve", "config", "doctor", "health"])
def test_an_invalid_configuration_is_one_sentence(run: Run, tmp_path: Path, command: str) -> None:
    result = run(command, "--config", tmp_path / "none.toml")
    assert result.returncode == 1
    assert one_sentence(result.stderr) == (
        f"configuration file {tmp_path}/none.toml does not exist; correct --config"
    )


def test_paths_of_flags_are_relative_to_the_working_directory(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = tomllib.loads(run("config", "--state-dir", "state").stdout)
    assert found["state_dir"] == str(tmp_path / "state")


def test_certs_init_issue_and_show(run: Run, tmp_path: Path) -> None:
    directory = tmp_path / "new" / "certs"
    names = ["ca", "server", "admin", "viewer"]
    made = run("certs", "init", "--dir", directory, "--host", "worker1.example.com", "--host", "::1")
    assert made.returncode == 0
    assert sorted(made.stdout.split()) == sorted(
        str(directory / f"{name}{suffix}.pem") for name in names for suffix in ("", "-key")
    )
    assert run("certs", "issue", "alice", "--role", "admin", "--dir", directory).returncode == 0
    (directory / "alice-key.pem").chmod(0o644)
    shown = run("certs", "show", "--dir", directory)
    assert shown.returncode == 0
    assert "  hosts      worker1.example.com, ::1\n" in shown.stdout
    assert "CN=alice,OU=Admin,O=jobworker" in shown.stdout
    assert shown.stderr.startswith(f"warning: {directory}/alice-key.pem has mode 0644")
    listed = json.loads(run("certs", "show", "-o", "json", "--dir", directory).stdout)
    assert [each["role"] for each in listed] == ["CA", "server", "Admin", "Admin", "Viewer"]


def test_certs_renew_replaces_one_or_all(run: Run, certs: Path) -> None:
    renewed = run("certs", "renew", "viewer", "--dir", certs)
    assert renewed.stdout.split() == [str(certs / "viewer-key.pem"), str(certs / "viewer.pem")]
    everything = run("certs", "renew", "--all", "--dir", certs)
    assert everything.returncode == 0
    assert not {str(certs / "ca.pem"), str(certs / "ca-key.pem")} & set(everything.stdout.split())
    assert run("certs", "show", "--dir", certs).stderr == ""


def test_certs_uses_the_directory_of_the_server(
    run: Run, certs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOBWORKERD_CERTS_DIR", str(certs))
    assert str(certs / "ca.pem") in run("certs", "show").stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("init",), "already has ca.pem"),
        (
            ("issue", "admin", "--role", "admin"),
            "already has admin.pem, admin-key.pem; replace them with --force",
        ),
        (("issue", "ca", "--role", "admin"), "is the name of the authority"),
        (("issue", "../x", "--role", "admin"), "is not accepted as a name"),
        (("issue", "s", "--role", "server", "--host", "a b"), "neither an IP address nor a DNS name"),
    ],
)
def test_certs_errors_are_one_sentence_and_change_nothing(
    run: Run, certs: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    before = {path: path.read_bytes() for path in certs.iterdir()}
    result = run("certs", *arguments, "--dir", certs)
    assert result.returncode == 1
    assert sentence in one_sentence(result.stderr)
    assert {path: path.read_bytes() for path in certs.iterdir()} == before


def test_an_error_of_the_file_system_is_one_sentence(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = run("certs", "init", "--dir", tmp_path / "file" / "certs")
    assert result.returncode == 1
    assert one_sentence(result.stderr) == f"{tmp_path}/file/certs: Not a directory"


@pytest.mark.parametrize("name", ["ca.pem", "server.pem", "server-key.pem"])
def test_serve_without_a_certificate_names_the_command_to_create_it(run: Run, certs: Path, name: str) -> None:
    (certs / name).unlink()
    result = run("serve", "--certs-dir", certs)
    assert result.returncode == 1
    assert one_sentence(result.stderr).startswith(f"{certs}/{name} is missing; create certificates with: ")


def test_serve_with_a_key_that_others_can_read_does_not_start(run: Run, certs: Path) -> None:
    (certs / "server-key.pem").chmod(0o640)
    result = run("serve", "--certs-dir", certs)
    assert result.returncode == 1
    assert "chmod 600" in one_sentence(result.stderr)


def test_serve_becomes_the_keeper_with_the_settings(
    run: Run, certs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[tuple[str, list[str], Config]] = []

    def execv(path: str, arguments: list[str]) -> None:
        fd = int(arguments.pop(5))
        assert os.get_inheritable(fd)
        started.append((path, arguments, from_json(os.pread(fd, 65_536, 0))))
        raise SystemExit(0)

    monkeypatch.setattr(os, "execv", execv)
    before = descriptors()
    run(
        "serve",
        "--certs-dir",
        certs,
        "--listen",
        "127.0.0.1:0",
        "--api-processes",
        2,
        "--logging-level",
        "debug",
    )
    ((path, arguments, config),) = started
    assert path == sys.executable
    assert arguments == [sys.executable, "-P", "-m", "jobworkerd.keeper", "--config-fd", *sys.argv[1:]]
    assert (config.listen, config.api.processes, config.logging.level) == ("127.0.0.1:0", 2, "debug")
    assert config.certs_dir == str(certs)
    assert not opened_since(before)


def test_the_settings_survive_the_exec() -> None:
    """With a real execve, the descriptor is inherited and read from the start."""
    reader = "import os, sys; sys.stdout.buffer.write(os.pread(int(sys.argv[1]), 65536, 0))"
    program = (
        "import os, sys; from jobworkerd.commands import serve; from jobworkerd.config import Config\n"
        "execv = os.execv\n"
        f"os.execv = lambda path, arguments: execv(path, [path, '-c', {reader!r}, arguments[5]])\n"
        "serve.become_keeper(Config(listen='127.0.0.1:7'), ['serve'])\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert from_json(result.stdout) == Config(listen="127.0.0.1:7")


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("state_dir", {"state_dir": "/elsewhere"}),
        ("cgroup_base", {"cgroup_base": "/elsewhere"}),
        ("scratch.directory", {"scratch": ScratchConfig(directory="/elsewhere")}),
    ],
)
def test_a_reload_cannot_move_the_state_of_running_jobs(
    name: str, changes: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "execv", lambda *_: pytest.fail("a supervisor was started"))
    current = os.memfd_create("settings")
    os.write(current, to_json(Config()))
    changed = msgspec.structs.replace(Config(), **changes)
    with pytest.raises(SettingsError, match=f"{name}: a reload cannot change it .* restart the server"):
        serve.become_supervisor(changed, "9", str(current))
    os.close(current)


@pytest.mark.parametrize(
    ("listen", "address"),
    [
        ("0.0.0.0:1", "localhost:1"),
        ("[::]:1", "localhost:1"),
        ("[::1]:1", "[::1]:1"),
        ("127.0.0.1:1", "127.0.0.1:1"),
    ],
)
def test_health_calls_the_server_of_this_host(
    run: Run, certs: Path, monkeypatch: pytest.MonkeyPatch, listen: str, address: str
) -> None:
    monkeypatch.setenv("JOBWORKERD_LISTEN", listen)
    result = run("health", "--certs-dir", certs)
    assert result.returncode == 1
    assert one_sentence(result.stderr).startswith(f"{address}: UNAVAILABLE: ")


def test_health_needs_the_address_of_a_server_with_a_free_port(
    run: Run, certs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOBWORKERD_LISTEN", "127.0.0.1:0")
    result = run("health", "--certs-dir", certs)
    assert result.returncode == 1
    assert "name the server's address with --server" in one_sentence(result.stderr)


def test_health_without_a_client_certificate_names_the_file(run: Run, certs: Path) -> None:
    (certs / "viewer.pem").unlink()
    result = run("health", "--certs-dir", certs)
    assert result.returncode == 1
    assert one_sentence(result.stderr) == f"{certs}/viewer.pem: No such file or directory"


def test_serve_imports_no_slow_module() -> None:
    program = "import sys, jobworkerd.__main__; print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    slow = {"grpc", "google.protobuf", "cryptography", "opentelemetry", "structlog", "rich", "asyncio"}
    assert slow.isdisjoint(result.stdout.split())


def test_the_module_is_a_command_and_shows_no_traceback(tmp_path: Path) -> None:
    directories = ["--certs-dir", str(tmp_path), "--state-dir", str(tmp_path / "state")]
    command = [sys.executable, "-m", "jobworkerd", "serve", *directories]
    result = subprocess.run(command, capture_output=True, text=True, check=False, env={"PATH": "/bin"})
    assert result.returncode == 1
    assert f"{tmp_path}/ca.pem is missing" in one_sentence(result.stderr)
