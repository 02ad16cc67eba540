"""The manifests in packaging/kubernetes: their schema, and what they promise. tests/cluster applies them."""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import kubernetes_validate
import pytest
import yaml

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


def test_the_kustomization_lists_all_files_but_the_identity_of_agents() -> None:
    """A cluster that issues certificates for nodes does not need that identity."""
    listed = next(documents(CLUSTER / "kustomization.yaml"))["resources"]
    files = {path.name for path in CLUSTER.glob("*.yaml")}
    assert set(cast("list[str]", listed)) == files - {"kustomization.yaml", "agent-service-account.yaml"}


def test_the_deployment_runs_the_image_of_this_version() -> None:
    assert f"image: jobworker-gateway:{VERSION}\n" in (CLUSTER / "gateway.yaml").read_text()


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
