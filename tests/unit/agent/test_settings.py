"""Settings of the agent."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from jobworker_agent.main import app
from jobworker_agent.settings import (
    InvalidSettings,
    host_address,
    metrics_address,
    node_identity,
    read_file,
)

ADDRESS = "host1.example.org:50051"
NO_MAXIMA = {"max_cpu": 0, "max_memory": 0, "max_jobs": 0}


def test_the_name_of_the_host_is_the_default_name_of_the_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "Host1")
    assert node_identity("", ADDRESS, [], NO_MAXIMA).name == "host1"


def test_labels_and_maxima_are_those_of_the_configuration() -> None:
    identity = node_identity(
        "n", ADDRESS, ["disk=ssd", "example.org/zone=", "a=b"], {**NO_MAXIMA, "max_cpu": 50}
    )
    assert identity.labels == {"disk": "ssd", "example.org/zone": "", "a": "b"}
    assert identity.max_cpu == 50


@pytest.mark.parametrize(
    ("node", "address", "labels", "maxima", "message"),
    [
        ("Node_1", ADDRESS, [], {}, "node: 'Node_1' is not a name of a node; use a DNS name in lower case"),
        ("n", "host1", [], {}, "address: 'host1' is not HOST:PORT, such as host1.example.org:50051"),
        ("n", "host1:0", [], {}, "address: 'host1:0' is not HOST:PORT, such as host1.example.org:50051"),
        (
            "n",
            "[::1]:5",
            [],
            {},
            "address: other hosts cannot reach [::1]:5; use an address of this host for gateways",
        ),
        (
            "n",
            "localhost:5",
            [],
            {},
            "address: other hosts cannot reach localhost:5; use an address of this host for gateways",
        ),
        (
            "n",
            ADDRESS,
            ["a"],
            {},
            "label: 'a' is not a label of Kubernetes; use NAME=VALUE, such as disk=ssd",
        ),
        (
            "n",
            ADDRESS,
            ["a= b"],
            {},
            "label: 'a= b' is not a label of Kubernetes; use NAME=VALUE, such as disk=ssd",
        ),
        ("n", ADDRESS, [], {"max_cpu": -1}, "max_cpu: -1 is negative; use 0 for the capacity of the host"),
    ],
)
def test_a_setting_that_is_not_accepted_is_named(
    node: str, address: str, labels: list[str], maxima: dict[str, int], message: str
) -> None:
    with pytest.raises(InvalidSettings) as caught:
        node_identity(node, address, labels, maxima)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("listen", "address"),
    [
        ("", None),
        ("127.0.0.1:9465", ("127.0.0.1", 9465)),
        ("localhost:0", ("localhost", 0)),
        ("[::1]:65535", ("::1", 65_535)),
    ],
)
def test_the_endpoint_has_a_loopback_address(listen: str, address: tuple[str, int] | None) -> None:
    assert metrics_address(listen) == address


@pytest.mark.parametrize(
    "listen", ["0.0.0.0:9465", ":9465", "9465", "127.0.0.1", "127.0.0.1:65536", "127.0.0.1:-1", "host1:9465"]
)
def test_the_endpoint_has_no_other_address(listen: str) -> None:
    with pytest.raises(InvalidSettings) as caught:
        metrics_address(listen)
    assert str(caught.value) == (
        f"metrics_listen: {listen!r} is not a loopback address with a port; "
        "use one such as 127.0.0.1:9465, or leave it empty for no endpoint"
    )


def test_the_certificate_is_in_the_directory() -> None:
    address = host_address("localhost:50051", "", Path("/certs"))
    assert address.certificate == Path("/certs/gateway.pem")
    assert address.key == Path("/certs/gateway-key.pem")


def test_a_file_has_the_options_as_keys(tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    path.write_text('node = "n"\nmax_jobs = 5\n[labels]\ndisk = "ssd"\n')
    assert read_file(path) == {"node": "n", "max_jobs": 5, "label": ["disk=ssd"]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("colour = 'red'", "unknown setting colour; use one of address, "),
        ("node = 5", "node is 5; use a string"),
        ("max_cpu = true", "max_cpu is True; use a number"),
        ("labels = 5", "labels is 5; use a table of strings"),
        ("node", "cannot be read: "),
    ],
)
def test_a_file_that_is_not_accepted_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "agent.toml"
    path.write_text(text)
    with pytest.raises(InvalidSettings) as caught:
        read_file(path)
    assert str(caught.value).startswith(f"{path}: {message}")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--server", "host1"], "server: 'host1' is not HOST:PORT"),
        ([], "address: other hosts cannot reach localhost:50051"),
        (["--config", "/nowhere.toml"], "/nowhere.toml: cannot be read: No such file or directory"),
    ],
)
def test_the_command_refuses_unusable_settings(arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})
    assert result.exit_code == 2
    assert message in result.output


def test_a_missing_certificate_is_an_error(tmp_path: Path) -> None:
    arguments = ["--server", ADDRESS, "--certs-dir", str(tmp_path)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1
    assert str(tmp_path / "ca.pem") in result.output
