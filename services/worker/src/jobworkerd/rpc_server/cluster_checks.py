"""Checks the fields of a request that only a cluster can serve. The functions are those of `field_checks`."""

import re
from collections.abc import Collection, Mapping

from jobworker.v1 import job_service_pb2
from jobworkerd.rpc_server import bounds

_SINGLE_HOST = "set, but this server is a single host; leave it unset, or call a gateway"

# https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/
_LABEL = r"[a-zA-Z0-9]([a-zA-Z0-9._-]{0,61}[a-zA-Z0-9])?"
_PREFIX = r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/"
_KEY = re.compile(f"({_PREFIX})?{_LABEL}")
_VALUE = re.compile(f"({_LABEL})?")


def problems(request: job_service_pb2.CreateJobRequest, queues: Collection[str] | None) -> Mapping[str, str]:
    """Return the problem of each field; empty for a field without one. A single host has no `queues`."""
    if queues is None:
        cluster_only = ("queue", "node_selector", "retry_on_lost")
        return {name: _SINGLE_HOST if getattr(request, name) else "" for name in cluster_only}
    return {"queue": _queue(request.queue, queues), "node_selector": _node_selector(request.node_selector)}


def _queue(name: str, queues: Collection[str]) -> str:
    if not name or name in queues:
        return ""
    remedy = f"use {', '.join(sorted(queues))}, or leave" if queues else "leave"
    return f"unknown queue {name[:64]!r}; {remedy} it unset for the default queue"


def _node_selector(labels: Mapping[str, str]) -> str:
    found = (problem for key, value in labels.items() if (problem := _label(key, value)))
    return bounds.NODE_SELECTOR.size_problem(len(labels)) or next(found, "")


def _label(key: str, value: str) -> str:
    if not _KEY.fullmatch(key):
        return f"{key[:64]!r} is not a key of a label in Kubernetes; use a key such as example.com/disk"
    if problem := bounds.NODE_LABEL_VALUE.size_problem(len(value)):
        return f"value of {key[:64]!r} {problem}"
    if not _VALUE.fullmatch(value):
        accepted = "a-z, A-Z, 0-9, '.', '_' and '-', with a letter or digit at both ends"
        return f"value of {key[:64]!r} is not a value of a label in Kubernetes; use {accepted}"
    return ""
