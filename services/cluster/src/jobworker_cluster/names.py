"""The names of labels, annotations and objects.

They are an interface: agents and gateways of other versions use them.
"""

import hashlib

PREFIX = "jobworker.dev"

JOB = f"{PREFIX}/job"
"""Label `true` of the Pods and Secrets of jobs.

As an annotation, the initial record: a Job, serialized, in base64.
"""

JOB_ID = f"{PREFIX}/id"
QUEUE = f"{PREFIX}/queue"
OWNER = f"{PREFIX}/owner"
"""As an annotation, the subject of the owner. As a label, a hash of it."""

ATTEMPT = f"{PREFIX}/attempt"
"""Annotation of a Pod: the number of the attempt.

Of a Secret: that of the next attempt, once the first is over.
"""

RECORD = f"{PREFIX}/record"
"""Annotation with the record of the node, without the fields of the initial one. Also the finalizer of a
Pod, which keeps the record until a gateway has archived it.
"""

SHORTAGE = f"{PREFIX}/shortage"
"""Annotation of a Pod that its node cannot start yet: what the host or its agent lacks."""

STOPPED_BY = f"{PREFIX}/stopped-by"
STOP_GRACE_PERIOD = f"{PREFIX}/stop-grace-period"
"""Annotation of a Pod that a client stopped with a grace period: its seconds."""

QUEUE_TIMED_OUT = f"{PREFIX}/queue-timed-out"
REQUEST_HASH = f"{PREFIX}/request-sha256"
"""Annotation of a Secret: a hash of the request, which includes its environment."""

GATEWAY = f"{PREFIX}/gateway"
"""Annotation of a Pod: the process of the gateway that created it, and that removes it before others do."""

SECRET_UID = f"{PREFIX}/secret-uid"

TRACEPARENT = f"{PREFIX}/traceparent"
TRACESTATE = f"{PREFIX}/tracestate"
"""Annotations of a Secret: the parent of the spans of the job, from the request that created it."""

NODE = f"{PREFIX}/node"
"""Label `true` of the Nodes of agents, and their taint."""

ADDRESS = f"{PREFIX}/address"
"""Annotation of a Node: the host and port at which gateways reach its server."""

VERSION = f"{PREFIX}/version"
"""Annotation of a Node: the version of its server."""

PRIORITY = f"{PREFIX}/priority"
"""Label `true` of the PriorityClasses for jobs."""

IMAGE = f"{PREFIX}/job"
CONTAINER = "job"
SPEC_VOLUME = "spec"
SPEC_KEY, JOB_KEY = "spec", "job"
"""Keys in the data of a Secret: the serialized CreateJobRequest, and the serialized initial Job."""

ALL_JOBS = f"{JOB}=true"
ALL_NODES = f"{NODE}=true"
ALL_PRIORITIES = f"{PRIORITY}=true"

_HASH_LENGTH = 40


def pod_name(job_id: str) -> str:
    """Return the name of the Pods of a job. At one time, it has at most one."""
    return f"job-{job_id}"


def job_of_pod(name: str) -> str:
    """Return the id of the job whose Pods have a name. A Pod keeps its name, whatever else is changed."""
    return name.removeprefix("job-")


def secret_name(job_id: str, request_key: str) -> str:
    """Return the name of the Secret of a job. Two requests with the same key compete for one name."""
    return f"request-{request_key}" if request_key else f"job-{job_id}"


def job_of_secret(name: str) -> str:
    """Return the id of the job of a Secret; empty if its name is that of a request id."""
    return name.removeprefix("job-") if name.startswith("job-") else ""


def request_key(owner: str, request_id: str) -> str:
    """Return a key for a request id of an owner; empty if the client sent none."""
    return _hash(f"{owner}\0{request_id}") if request_id else ""


def key_of_secret(name: str) -> str:
    """Return the key of the request of a Secret; empty if the client sent no request id."""
    return name.removeprefix("request-") if name.startswith("request-") else ""


def owner_label(owner: str) -> str:
    """Return the label for an owner, whose subject can have characters that labels cannot have."""
    return _hash(owner)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_HASH_LENGTH]
