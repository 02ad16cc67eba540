"""The audit log of an apiserver: the calls of each program."""

import json
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.kube_api import Json
from tests.cluster.packaged import objects

POLICY: Json = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "Metadata", "userGroups": ["system:serviceaccounts:jobworker"]},
        {"level": "None"},
    ],
}
"""The calls of the service accounts of the cluster. JSON is YAML, too."""


@dataclass(frozen=True)
class Right:
    """A verb for a kind of objects. Without a namespace, it counts for objects of all."""

    namespace: str
    resource: str
    verb: str


def used(log: Path, user: str, begin: int) -> tuple[set[Right], list[str]]:
    """Return the rights that a user has used since an offset of the log, and the calls that were refused."""
    rights, refused = set(), []
    for line in log.read_bytes()[begin:].splitlines():
        event = json.loads(line)
        if event["user"]["username"] != user or "objectRef" not in event:
            continue
        of = event["objectRef"]
        resource = "/".join(part for part in (of["resource"], of.get("subresource")) if part)
        # Kubernetes sets the namespace of a Node to its name in some events.
        namespace = "" if of["resource"] in {"nodes", "priorityclasses"} else of.get("namespace", "")
        right = Right(namespace, resource, event["verb"])
        if event.get("responseStatus", {}).get("code") == 403:
            refused.append(f"{right}: {event['requestURI']}")
        else:
            rights.add(right)
    return rights, refused


def granted(account: str) -> set[Right]:
    """Return the rights that the manifests grant to a service account."""
    found = list(objects())
    roles = {_key(each): each["rules"] for each in found if each["kind"] in {"Role", "ClusterRole"}}
    rights = set()
    for binding in found:
        if binding["kind"] not in {"RoleBinding", "ClusterRoleBinding"}:
            continue
        if not any(each["name"] == account for each in binding["subjects"]):
            continue
        namespace = binding["metadata"].get("namespace", "")
        for rule in roles[(binding["roleRef"]["kind"], namespace, binding["roleRef"]["name"])]:
            rights |= {Right(namespace, each, verb) for each in rule["resources"] for verb in rule["verbs"]}
    return rights


def _key(manifest: Json) -> tuple[str, str, str]:
    metadata = manifest["metadata"]
    return manifest["kind"], metadata.get("namespace", ""), metadata["name"]
