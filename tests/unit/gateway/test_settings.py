"""The settings of the gateway: sources, accepted values, and the part for the shared code."""

from pathlib import Path

import pytest

from jobworker_gateway import settings
from jobworker_gateway.settings import GatewayConfig, gateway_keys, resolve
from jobworkerd.config import Config
from jobworkerd.model import Network
from jobworkerd.settings.resolve import SettingsError


@pytest.fixture(autouse=True)
def no_file_of_this_host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(settings, "DEFAULT_FILE", tmp_path / "default.toml")


def test_settings_without_sources_are_the_defaults() -> None:
    assert resolve(None, {"JOBWORKERD_LISTEN": "[::1]:1"}, {"listen": None}) == GatewayConfig()


def test_flags_take_precedence_over_the_environment_and_the_file(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text('listen = "a:1"\nnamespace = "b"\narchive = "sqlite:/c"\n')
    environ = {"JOBWORKER_GATEWAY_LISTEN": "a:2", "JOBWORKER_GATEWAY_NAMESPACE": "b2"}
    found = resolve(file, environ, {"listen": "a:3"})
    assert (found.listen, found.namespace, found.archive) == ("a:3", "b2", "sqlite:/c")


def test_the_default_file_is_used_if_it_exists(tmp_path: Path) -> None:
    (tmp_path / "default.toml").write_text("lost_after = 60\n")
    assert resolve(None, {}, {}).lost_after == 60


def test_queues_are_tables_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text('[queues.gpu]\n"example.org/gpu" = "a100"\n[queues.any]\n')
    assert resolve(file, {}, {}).queues == {"gpu": {"example.org/gpu": "a100"}, "any": {}}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("queue = 1", "unknown key queue (file {file}); did you mean queues?"),
        (
            'archive = "mysql://db"',
            'archive: "mysql://db" (file {file}) is not accepted; use sqlite:FILE with',
        ),
        (
            'archive = "sqlite:relative"',
            'archive: "sqlite:relative" (file {file}) is not accepted; use sqlite',
        ),
        (
            'kubeconfig = "relative"',
            'kubeconfig: "relative" (file {file}) is not accepted; use an absolute path',
        ),
        ('listen = "1.2.3.4"', 'listen: "1.2.3.4" (file {file}) is not accepted; use HOST:PORT'),
        ("lost_after = 5", "lost_after: 5 (file {file}) is not accepted; use a number from 20 to 86400"),
        ("[queues]\ngpu = 1", 'queues: {{"gpu": 1}} (file {file}) is not accepted; use a table in the file'),
        ("[queues.GPU]", 'queues: {{"GPU": {{}}}} (file {file}) is not accepted; use a table in the file'),
        ("[defaults]\nopen_files = 16", "unknown key defaults.open_files (file {file});"),
    ],
)
def test_what_is_not_accepted_is_named(tmp_path: Path, text: str, sentence: str) -> None:
    file = tmp_path / "c.toml"
    file.write_text(text)
    with pytest.raises(SettingsError) as caught:
        resolve(file, {}, {})
    assert str(caught.value).startswith(sentence.format(file=file))


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("postgre://jobs:s3cr@t@db/jobs", '"postgre://jobs:***@db/jobs"'),
        (
            "postgre://jobs@db/jobs?password=s3cr@t&sslpassword=0ther",
            '"postgre://jobs@db/jobs?password=***&sslpassword=***"',
        ),
        ("postgre://jobs@db/jobs", '"postgre://jobs@db/jobs"'),
        ("http://[::1]:5432/jobs", '"http://[::1]:5432/jobs"'),
    ],
)
def test_an_error_does_not_show_the_password_of_an_address(address: str, shown: str) -> None:
    with pytest.raises(SettingsError) as caught:
        resolve(None, {"JOBWORKER_GATEWAY_ARCHIVE": address}, {})
    assert str(caught.value).startswith(f"archive: {shown} (environment JOBWORKER_GATEWAY_ARCHIVE) is not")


def test_a_variable_of_a_queue_is_refused() -> None:
    with pytest.raises(
        SettingsError, match=r"JOBWORKER_GATEWAY_QUEUES.* is not accepted; use a table in the file"
    ):
        resolve(None, {"JOBWORKER_GATEWAY_QUEUES": "gpu"}, {})


def test_the_shared_code_gets_the_settings_that_it_uses(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text(
        """
        listen = "a:1"
        certs_dir = "/c"
        max_create_rate = 5
        defaults = { max_cpu = 7, stop_grace_period = 3 }
        quota.admin = { running_jobs = 4 }
        api = { keepalive = 11, reflection = false, max_concurrent_rpcs = 6, max_connections = 8 }
        log = { stall_timeout = 2 }
        isolation = { network = "none" }
        scratch = { max = 9, default = 8 }
        logging = { level = "debug" }
        """
    )
    server = resolve(file, {}, {}).server
    assert (server.listen, server.certs_dir, server.max_create_rate) == ("a:1", "/c", 5)
    assert (server.defaults.max_cpu, server.defaults.stop_grace_period) == (7, 3)
    assert server.quota.admin.running_jobs == 4
    assert (server.api.keepalive, server.api.reflection, server.api.max_concurrent_rpcs) == (11, False, 6)
    assert (server.api.max_connections, server.log.stall_timeout) == (8, 2)
    assert server.isolation.network is Network.NONE
    assert (server.scratch.max, server.scratch.default, server.logging.level) == (9, 8, "debug")


def test_the_shared_settings_have_the_defaults_of_a_host() -> None:
    own = {key.name: key.default for key in gateway_keys()}
    host = GatewayConfig().server
    assert host == Config(), "a default differs from that of jobworkerd"
    assert own["defaults.max_cpu"] == Config().defaults.max_cpu


def test_files_for_nodes_are_those_of_the_directory_unless_they_are_set() -> None:
    directory = Path("/certs")
    found = resolve(None, {}, {"certs_dir": "/certs"})
    assert found.node_files == (
        directory / "ca.pem",
        directory / "gateway.pem",
        directory / "gateway-key.pem",
    )
    found = resolve(None, {"JOBWORKER_GATEWAY_NODE_KEY": "/k.pem"}, {"certs_dir": "/certs"})
    assert found.node_files[2] == Path("/k.pem")
