"""The Pod of a job, as the scheduler, the agents and the gateways see it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from jobworker.v1 import job_pb2
from jobworker_cluster import names, quantities, records
from jobworker_cluster.job_secrets import JobSecret
from jobworker_cluster.kube import Json
from jobworker_cluster.records import InvalidRecord

_MARGIN_SECONDS = 10
"""Time that a stop may take in addition to the grace period of the job."""

_UNREACHABLE_SECONDS = 5
"""Time after which the Pods of an unreachable node are deleted."""

_MAX_ATTEMPT = 2**31 - 1


class InvalidPod(ValueError):
    """Raised for a Pod that has the label of a job, but other parts are missing or malformed.

    It was changed by hand, or a gateway did not create it.
    """


@dataclass(frozen=True)
class JobPod:
    """One attempt of a job.

    `initial` is the record at the creation of the job, `record` that of the node: None before the start.
    `node` is empty until the scheduler has chosen one. `deleted` is true if the Pod must end: then
    `stopped_by` is the client that stopped the job, or `disruption` the reason of the cluster, such as
    `PreemptionByScheduler`. `stop_grace_period` is what the client chose, in seconds. `held` is true while
    the finalizer keeps the Pod. `waits_for` is the scheduler's reason why no node is chosen, `shortage` what
    the chosen one lacks to start the job, and `priority` the value of the class by which the scheduler orders
    Pods. The `reserved` amounts, in percent of one core and in MiB, never change. The limits of the job can.
    """

    namespace: str
    name: str
    uid: str
    version: int
    attempt: int
    secret: str
    secret_uid: str
    gateway: str
    initial: job_pb2.Job
    record: job_pb2.Job | None = None
    node: str = ""
    phase: str = "Pending"
    deleted: bool = False
    held: bool = True
    stopped_by: str = ""
    stop_grace_period: float | None = None
    queue_timed_out: bool = False
    disruption: str = ""
    waits_for: str = ""
    shortage: str = ""
    priority: int = 0
    reserved_cpu: int = 0
    reserved_memory: int = 0

    @property
    def job_id(self) -> str:
        """The job's id."""
        return self.initial.id

    def stop_notes(self, subject: str, grace_period: float | None) -> dict[str, str]:
        """Return the annotations for a stop of a client.

        As on a single host, the first client counts, and the shortest grace period (seconds) of all.
        """
        notes = {names.STOPPED_BY: self.stopped_by or subject}
        chosen = [each for each in (self.stop_grace_period, grace_period) if each is not None]
        return notes | {names.STOP_GRACE_PERIOD: str(min(chosen))} if chosen else notes

    @property
    def merged(self) -> job_pb2.Job:
        """The record of the job as far as the node has written it. The initial one before the start."""
        return records.merge(self.initial, self.record) if self.record else self.initial

    @property
    def final(self) -> bool:
        """Whether the node has written a final status."""
        return self.record is not None and records.is_final(self.record)


@dataclass(frozen=True)
class DamagedPod:
    """An attempt whose Pod was changed by hand. `why` says what cannot be read; see JobPod for the rest.

    `record` is that of the node if it is final and can be read.
    """

    name: str
    uid: str
    version: int
    held: bool
    record: job_pb2.Job | None
    why: str

    @property
    def job_id(self) -> str:
        """The job's id."""
        return names.job_of_pod(self.name)


@dataclass(frozen=True)
class PodPlan:
    """Decisions of a gateway about an attempt. `gateway` identifies the process."""

    secret: JobSecret
    attempt: int
    gateway: str
    priority_class: str
    node_selector: Mapping[str, str] = field(default_factory=dict)


def read(pod: Json) -> JobPod:
    """Return the attempt in a Pod.

    The agent of the node can change all annotations, and an attacker can control it.

    Raises:
        InvalidPod: a part is missing or malformed, or the Pod is not that of its job.
    """
    metadata, spec, status = pod["metadata"], pod.get("spec") or {}, pod.get("status") or {}
    annotations = metadata.get("annotations") or {}
    conditions = {each["type"]: each for each in status.get("conditions") or ()}
    reserved = _reserved(spec)
    try:
        record, grace = annotations.get(names.RECORD), annotations.get(names.STOP_GRACE_PERIOD)
        return JobPod(
            namespace=metadata["namespace"],
            name=metadata["name"],
            uid=metadata["uid"],
            version=int(metadata["resourceVersion"]),
            attempt=_attempt(annotations[names.ATTEMPT]),
            secret=_secret(spec),
            secret_uid=annotations.get(names.SECRET_UID, ""),
            gateway=annotations.get(names.GATEWAY, ""),
            initial=_initial(metadata, annotations[names.JOB]),
            record=records.decode(record) if record else None,
            node=spec.get("nodeName") or "",
            phase=status.get("phase") or "Pending",
            deleted="deletionTimestamp" in metadata,
            held=_is_held(metadata),
            stopped_by=annotations.get(names.STOPPED_BY, ""),
            stop_grace_period=float(grace) if grace else None,
            queue_timed_out=names.QUEUE_TIMED_OUT in annotations,
            disruption=(conditions.get("DisruptionTarget") or {}).get("reason", ""),
            priority=spec.get("priority") or 0,
            waits_for=(conditions.get("PodScheduled") or {}).get("message", ""),
            shortage=annotations.get(names.SHORTAGE, ""),
            reserved_cpu=quantities.percent(reserved.get("cpu", "0")),
            reserved_memory=quantities.mebibytes(reserved.get("memory", "0")),
        )
    except (KeyError, ValueError) as error:
        why = f"{error.args[0]} is missing" if isinstance(error, KeyError) else str(error)
        raise InvalidPod(f"Pod {metadata['name']}: {why}") from error


def examine(pod: Json) -> JobPod | DamagedPod:
    """Return the attempt in a Pod, or the parts of it that can be read."""
    try:
        return read(pod)
    except InvalidPod as error:
        metadata = pod["metadata"]
        return DamagedPod(
            name=metadata["name"],
            uid=metadata["uid"],
            version=int(metadata["resourceVersion"]),
            held=_is_held(metadata),
            record=_final_record(metadata.get("annotations") or {}),
            why=str(error),
        )


def build(plan: PodPlan) -> Json:
    """Return the Pod of an attempt. Its Secret must exist, because the Pod is the permission to read it.

    More programs can read Pods than Secrets. So a Pod has nothing that depends on the environment of the
    job, also no hash, with which they could test guesses.
    """
    secret, job, request = plan.secret, plan.secret.job, plan.secret.request
    amounts = {"cpu": f"{job.max_cpu * 10}m", "memory": f"{job.max_memory}Mi"}
    grace = math.ceil(request.stop_grace_period.ToNanoseconds() / 1e9) + _MARGIN_SECONDS
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": names.pod_name(job.id),
            "labels": {
                names.JOB: "true",
                names.JOB_ID: job.id,
                names.QUEUE: job.queue or "default",
                names.OWNER: names.owner_label(job.owner),
            },
            "annotations": {
                names.JOB: records.encode(job),
                names.OWNER: job.owner,
                names.ATTEMPT: str(plan.attempt),
                names.SECRET_UID: secret.uid,
                names.GATEWAY: plan.gateway,
            },
            "finalizers": [names.RECORD],
        },
        "spec": {
            "containers": [
                {
                    "name": names.CONTAINER,
                    "image": names.IMAGE,
                    "resources": {"requests": amounts, "limits": amounts},
                }
            ],
            "volumes": [{"name": names.SPEC_VOLUME, "secret": {"secretName": secret.name}}],
            "restartPolicy": "Never",
            "priorityClassName": plan.priority_class,
            "nodeSelector": {**job.node_selector, **plan.node_selector, names.NODE: "true"},
            "tolerations": [
                {"key": names.NODE, "operator": "Exists"},
                # The agent runs, but the server does not. The jobs run without it.
                {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute"},
                {
                    "key": "node.kubernetes.io/unreachable",
                    "operator": "Exists",
                    "effect": "NoExecute",
                    "tolerationSeconds": _UNREACHABLE_SECONDS,
                },
            ],
            "terminationGracePeriodSeconds": grace,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
        },
    }


def _initial(metadata: Json, text: str) -> job_pb2.Job:
    """Return the initial record, if it is that of the name and the labels, which agents cannot change.

    Otherwise, an agent could end the job of another node, or give its job to another owner.

    Raises:
        ValueError: it is that of another job or owner.
    """
    initial = records.decode(text)
    # An empty text and one from another Pod are records, too.
    if metadata["name"] != names.pod_name(initial.id):
        raise ValueError(f"{names.JOB} is not the record of this job")
    if (metadata.get("labels") or {}).get(names.OWNER) != names.owner_label(initial.owner):
        raise ValueError(f"{names.JOB} is the record of another owner")
    return initial


def _attempt(text: str) -> int:
    """Return the number of an attempt.

    Raises:
        ValueError: it is not a number, or does not fit into a record.
    """
    if not 0 < (number := int(text)) <= _MAX_ATTEMPT:
        raise ValueError(f"attempt {number} is out of range")
    return number


def _final_record(annotations: Mapping[str, str]) -> job_pb2.Job | None:
    try:
        record = records.decode(annotations.get(names.RECORD, ""))
    except InvalidRecord:
        return None
    return record if records.is_final(record) else None


def _is_held(metadata: Json) -> bool:
    return names.RECORD in (metadata.get("finalizers") or ())


def _reserved(spec: Json) -> Mapping[str, str]:
    for container in spec.get("containers") or ():
        found: Mapping[str, str] = (container.get("resources") or {}).get("requests") or {}
        return found
    return {}


def _secret(spec: Json) -> str:
    for volume in spec.get("volumes") or ():
        if volume["name"] == names.SPEC_VOLUME:
            return str(volume["secret"]["secretName"])
    raise KeyError(f"volume {names.SPEC_VOLUME}")
