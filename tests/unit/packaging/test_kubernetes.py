"""The manifests in packaging/kubernetes: their schema, and what they promise. tests/cluster applies them."""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import kubernetes_validate
import pytest
import typer
import yaml

from jobworker_dashboard.main import app
from jobworker_dashboard.settings import Settings

ROOT = Path(__file__).parents[3]
MANIFESTS = ROOT / "packaging/kubernetes"
CLUSTER = MANIFESTS / "cluster"
VERSION = tomllib.loads((ROOT / "services/worker/pyproject.toml").read_text())["project"]["version"]
FILES = sorted(path for path in MANIFESTS.rglob("*.yaml") if path.name != "kustomization.yaml")

Document = dict[str, object]


def documents(path: Path) -> Iterator[Document]:
    for document in yaml.safe_load_all(path.read_text()):
        yield cast("Document", document)


def rules() -> Iterator[tuple[str, dict[str, list[str]]]]:
    """Yield the rules of all roles, with the name of the role."""
    for path in FILES:
        for document in documents(path):
            if document["kind"] in {"Role", "ClusterRole"}:
                metadata = cast("dict[str, str]", document["metadata"])
                for rule in cast("list[dict[str, list[str]]]", document["rules"]):
                    yield metadata["name"], rule


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(MANIFESTS)))
def test_a_manifest_has_the_schema_of_kubernetes(path: Path) -> None:
    found = list(documents(path))
    assert found
    for document in found:
        kubernetes_validate.validate(document, "1.37", strict=True)


def test_the_schema_is_strict() -> None:
    document = next(documents(CLUSTER / "namespace.yaml"))
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate({**document, "spce": {}}, "1.37", strict=True)


def test_the_kustomization_lists_all_files_but_those_that_not_every_cluster_needs() -> None:
    """Certificates for nodes replace the identity of agents, and the shared dashboard is an option."""
    listed = next(documents(CLUSTER / "kustomization.yaml"))["resources"]
    files = {path.name for path in CLUSTER.glob("*.yaml")}
    optional = {"agent-service-account.yaml", "dashboard.yaml"}
    assert set(cast("list[str]", listed)) == files - {"kustomization.yaml", *optional}


@pytest.mark.parametrize(("file", "image"), [("gateway", "jobworker-gateway"), ("dashboard", "jobworker")])
def test_a_deployment_runs_the_image_of_this_version(file: str, image: str) -> None:
    assert f"image: {image}:{VERSION}\n" in (CLUSTER / f"{file}.yaml").read_text()


def test_variables_of_a_kubernetes_service_are_no_settings() -> None:
    """Kubernetes adds JOBWORKER_GATEWAY_PORT for the service, which the gateway would refuse."""
    assert "enableServiceLinks: false\n" in (CLUSTER / "gateway.yaml").read_text()


def test_no_role_has_a_wildcard() -> None:
    for name, rule in rules():
        assert not any("*" in values for values in rule.values()), name


def test_only_gateways_change_secrets() -> None:
    verbs = {name: rule["verbs"] for name, rule in rules() if "secrets" in rule["resources"]}
    assert verbs["jobworker-agent"] == ["get"]
    assert "delete" in verbs["jobworker-gateway"]


def test_the_variables_of_the_dashboard_are_its_settings() -> None:
    """The program ignores variables that it does not know."""
    container, values = _dashboard()
    command = typer.main.get_command(app)
    options = {each.name: each for each in command.params}
    prefix = "JOBWORKERD_DASHBOARD_"
    settings = {name.removeprefix(prefix).lower(): value for name, value in values.items()}
    assert set(settings) <= set(options)
    tls = [Path(settings[name]) for name in ("tls_certificate", "tls_key")]
    Settings.parse(settings["listen"], settings["url"], *tls)
    mounts = {each["mountPath"] for each in cast("list[dict[str, str]]", container["volumeMounts"])}
    certificates = [Path(str(options[name].default)) for name in ("ca", "certificate", "key")]
    assert {str(path.parent) for path in (*tls, *certificates)} == mounts


def test_the_image_of_the_dashboard_has_its_program() -> None:
    container, _ = _dashboard()
    program = tomllib.loads((ROOT / "services/dashboard/pyproject.toml").read_text())["project"]["scripts"]
    assert container["command"] == list(program)
    assert "./services/dashboard " in (ROOT / "packaging/image/Dockerfile").read_text()


def _dashboard() -> tuple[Document, dict[str, str]]:
    """Return the container of the shared dashboard, and its variables."""
    deployment = next(documents(CLUSTER / "dashboard.yaml"))
    template = cast("dict[str, dict[str, Document]]", deployment["spec"])["template"]
    (container,) = cast("list[Document]", template["spec"]["containers"])
    variables = cast("list[dict[str, str]]", container["env"])
    return container, {each["name"]: each["value"] for each in variables}
