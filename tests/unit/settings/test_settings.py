"""Sources of settings, their precedence, and errors with key, value, source and accepted values."""

import os
from pathlib import Path

import pytest

from jobworkerd.config import Config, listen_address
from jobworkerd.model import LimitsPolicy
from jobworkerd.settings import resolve
from jobworkerd.settings.keys import Key, all_keys
from jobworkerd.settings.resolve import SettingsError, resolve_settings

KEYS = all_keys()


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def error(file: Path | None = None, environ: dict[str, str] | None = None, **flags: object) -> str:
    with pytest.raises(SettingsError) as caught:
        resolve_settings(file, environ or {}, flags)
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence


def test_settings_without_sources_are_the_defaults() -> None:
    found = resolve_settings(None, {"PATH": "/bin", "OTEL_SERVICE_NAME": "x"}, {"listen": None})
    assert found.config == Config()
    assert set(found.sources.values()) == {"default"}
    assert set(found.sources) == {key.name for key in KEYS}


def test_flags_take_precedence_over_the_environment_and_the_file(tmp_path: Path) -> None:
    file = write(
        tmp_path / "c.toml",
        "max_jobs = 1\nshutdown_timeout = 1\n[api]\nprocesses = 1\n[defaults]\nmax_pids = 7\n",
    )
    environ = {"JOBWORKERD_SHUTDOWN_TIMEOUT": "2", "JOBWORKERD_API_PROCESSES": "2"}
    found = resolve_settings(file, environ, {"api.processes": 3})
    assert (found.config.max_jobs, found.config.shutdown_timeout, found.config.api.processes) == (1, 2, 3)
    assert found.config.defaults.max_pids == 7
    assert found.config.defaults.max_cpu == Config().defaults.max_cpu
    assert found.sources["max_jobs"] == f"file {file}"
    assert found.sources["shutdown_timeout"] == "environment JOBWORKERD_SHUTDOWN_TIMEOUT"
    assert found.sources["api.processes"] == "flag --api-processes"


@pytest.mark.parametrize(("given", "count"), [("auto", len(os.sched_getaffinity(0))), ("3", 3)])
def test_api_processes_as_a_number_or_one_per_core(tmp_path: Path, given: str, count: int) -> None:
    file = write(tmp_path / "c.toml", f"[api]\nprocesses = {given if given.isdecimal() else repr(given)}\n")
    for found in (
        resolve_settings(file, {}, {}),
        resolve_settings(None, {"JOBWORKERD_API_PROCESSES": given}, {}),
        resolve_settings(None, {}, {"api.processes": given}),
    ):
        assert found.config.api.process_count == count
    assert "use a whole number from 1 to 64, or auto" in error(None, {"JOBWORKERD_API_PROCESSES": "all"})


def test_the_default_file_is_read_if_it_exists() -> None:
    write(resolve.DEFAULT_FILE, "max_jobs = 9")
    assert resolve_settings(None, {}, {}).config.max_jobs == 9


def test_a_named_file_is_read_instead_of_the_default_one(tmp_path: Path) -> None:
    write(resolve.DEFAULT_FILE, "max_jobs = 9")
    assert resolve_settings(write(tmp_path / "c.toml", "shutdown_timeout = 8"), {}, {}).config.max_jobs == 500


def test_a_named_file_must_exist(tmp_path: Path) -> None:
    assert error(tmp_path / "c.toml") == (
        f"configuration file {tmp_path}/c.toml does not exist; correct --config"
    )


def test_a_directory_instead_of_a_file(tmp_path: Path) -> None:
    assert error(tmp_path) == f"configuration file {tmp_path} cannot be read: Is a directory"


@pytest.mark.parametrize("data", [b"max_jobs = ", b"\xff\xfe", b"a = 1\na = 2"])
def test_a_file_that_is_not_toml(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "c.toml"
    file.write_bytes(data)
    assert error(file).startswith(f"configuration file {file} is not valid TOML: ")


_UNKNOWN = [
    ("max_job = 1", "unknown key max_job (file FILE); did you mean max_jobs?"),
    ("log.chunk = 1", "unknown key log.chunk (file FILE); did you mean log.chunk_bytes?"),
    ("[defaults]\ncpu = 1", "unknown key defaults.cpu (file FILE); did you mean defaults.max_cpu?"),
    ("[qqqq]\na = 1", "unknown key qqqq (file FILE); remove it"),
]


@pytest.mark.parametrize(("text", "sentence"), _UNKNOWN)
def test_unknown_keys_in_the_file(tmp_path: Path, text: str, sentence: str) -> None:
    file = write(tmp_path / "c.toml", text)
    assert error(file).replace(str(file), "FILE") == sentence


_NOT_ACCEPTED = [
    ("defaults = 3", "defaults: 3", "a table"),
    ("max_jobs = 0", "max_jobs: 0", "a whole number from 1 to 100000"),
    ("max_jobs = 1.5", "max_jobs: 1.5", "a whole number from 1 to 100000"),
    ('max_jobs = "5"', 'max_jobs: "5"', "a whole number from 1 to 100000"),
    ("max_jobs = 1979-05-27", 'max_jobs: "1979-05-27"', "a whole number from 1 to 100000"),
    ("[max_jobs]\na = 1", 'max_jobs: {"a": 1}', "a whole number from 1 to 100000"),
    ("shutdown_timeout = 0", "shutdown_timeout: 0", "a number above 0 to 3600"),
    ("shutdown_timeout = nan", "shutdown_timeout: NaN", "a number above 0 to 3600"),
    ("api.reflection = 1", "api.reflection: 1", "true or false"),
    ('state_dir = "state"', 'state_dir: "state"', "an absolute path"),
    ('io.devices = ["sda"]', 'io.devices: ["sda"]', "a list, each an absolute path"),
    ('logging.format = "xml"', 'logging.format: "xml"', "one of auto, console, json"),
    ('defaults.limits_policy = "hard"', 'defaults.limits_policy: "hard"', "one of best_effort, strict"),
]


@pytest.mark.parametrize(("text", "shown", "accepted"), _NOT_ACCEPTED)
def test_values_in_the_file_that_are_not_accepted(
    tmp_path: Path, text: str, shown: str, accepted: str
) -> None:
    file = write(tmp_path / "c.toml", text)
    assert error(file) == f"{shown} (file {file}) is not accepted; use {accepted}"


def test_errors_of_the_environment() -> None:
    assert error(environ={"JOBWORKERD_MAX_JOB": "1"}) == (
        "unknown environment variable JOBWORKERD_MAX_JOB; did you mean JOBWORKERD_MAX_JOBS?"
    )
    assert error(environ={"JOBWORKERD_MAX_JOBS": "many"}) == (
        'max_jobs: "many" (environment JOBWORKERD_MAX_JOBS) is not accepted; '
        "use a whole number from 1 to 100000"
    )


def test_errors_of_a_flag() -> None:
    assert error(max_jobs=0) == (
        "max_jobs: 0 (flag --max-jobs) is not accepted; use a whole number from 1 to 100000"
    )


_FROM_ENVIRONMENT: list[tuple[str, str, object]] = [
    ("defaults.max_cpu", "50", 50),
    ("defaults.stop_grace_period", "2.5", 2.5),
    ("defaults.limits_policy", "strict", "strict"),
    ("api.reflection", "false", False),
    ("api.reflection", "1", True),
    ("io.devices", "/dev/sda, /srv,", ["/dev/sda", "/srv"]),
    ("io.devices", "", []),
    ("logging.level", "debug", "debug"),
]


@pytest.mark.parametrize(("name", "text", "value"), _FROM_ENVIRONMENT)
def test_environment_values_are_converted_to_the_type_of_the_key(name: str, text: str, value: object) -> None:
    key = next(key for key in KEYS if key.name == name)
    assert key.value(resolve_settings(None, {key.variable: text}, {}).config) == value


def test_every_key_can_be_set_by_every_source() -> None:
    for key in KEYS:
        text = ",".join(key.default) if isinstance(key.default, list) else str(key.default)
        found = resolve_settings(None, {key.variable: text}, {})
        assert found.sources[key.name] == f"environment {key.variable}"
        assert found.config == Config()
        assert resolve_settings(None, {}, {key.name: key.default}).config == Config()


@pytest.mark.parametrize("what", ["name", "variable", "flag"])
def test_no_two_keys_share_a_name(what: str) -> None:
    assert len({getattr(key, what) for key in KEYS}) == len(KEYS)


def test_a_policy_is_an_enum_in_the_configuration() -> None:
    found = resolve_settings(None, {"JOBWORKERD_DEFAULTS_LIMITS_POLICY": "strict"}, {})
    assert found.config.defaults.limits_policy is LimitsPolicy.STRICT


@pytest.mark.parametrize(
    ("listen", "address"),
    [
        ("127.0.0.1:50051", ("127.0.0.1", 50051)),
        ("0.0.0.0:0", ("0.0.0.0", 0)),
        ("[::1]:65535", ("::1", 65535)),
        ("[::]:1", ("::", 1)),
        ("worker-1.example.com:443", ("worker-1.example.com", 443)),
        ("localhost:50051", ("localhost", 50051)),
    ],
)
def test_listen_addresses(listen: str, address: tuple[str, int]) -> None:
    assert resolve_settings(None, {"JOBWORKERD_LISTEN": listen}, {}).config.listen == listen
    assert listen_address(listen) == address


@pytest.mark.parametrize(
    "listen",
    [
        "",
        ":",
        "50051",
        ":50051",
        "localhost",
        "localhost:",
        "localhost:-1",
        "localhost:65536",
        "localhost:5 1",
        "localhost:٣",
        "::1:50051",
        "[::1]",
        "[::1:50051",
        "[127.0.0.1]:1",
        "[]:1",
        "256.0.0.1:1",
        "1.2.3:1",
        "a b:1",
        "-a:1",
        "a..b:1",
        "unix:/run/x.sock",
        "http://localhost:1",
        "localhost:1\n",
    ],
)
def test_invalid_listen_addresses(listen: str) -> None:
    sentence = error(environ={"JOBWORKERD_LISTEN": listen})
    assert sentence.startswith("listen: ")
    assert "(environment JOBWORKERD_LISTEN) is not accepted; use HOST:PORT" in sentence


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.name)
def test_every_key_describes_its_accepted_values(key: Key) -> None:
    assert key.accepted
