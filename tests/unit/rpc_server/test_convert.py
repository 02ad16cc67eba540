"""Conversion of structs to messages, with all fields of both."""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from api_server import JOB, JOB_ID
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from jobworker.v1 import job_pb2
from jobworkerd.cgroup.containment import CONTAINMENT
from jobworkerd.model import (
    AppliedIsolation,
    AppliedLimit,
    Job,
    JobSpec,
    JobStatus,
    Limits,
    LimitsPolicy,
    Network,
    StartError,
    Stdin,
    Termination,
    TerminationReason,
    Usage,
)
from jobworkerd.rpc_server.convert import ISOLATION_PARTS, LIMITS, duration, job_to_proto, timestamp
from jobworkerd.spawn.namespaces import CONFIGURABLE
from jobworkerd.spawn.private_mounts import WRITABLE_PATHS
from jobworkerd.supervisor.isolation_report import (
    NETWORK,
    NO_NEW_PRIVILEGES,
    SCRATCH,
    SECCOMP,
    SESSION_KEYRING,
    USER,
)
from jobworkerd.terminal import Terminal, TerminalResize
from jobworkerd.trace_context import JobTrace, Step, TraceContext


def _distinct_limits() -> Limits:
    """Return limits without equal values."""
    fields = enumerate(msgspec.structs.fields(Limits), 1)
    return Limits(**{field.name: number if field.type is int else str(number) for number, field in fields})  # type: ignore[arg-type]


FULL_SPEC = JobSpec(
    command="ping",
    args=("-c", "5"),
    limits=_distinct_limits(),
    limits_policy=LimitsPolicy.STRICT,
    working_directory="/tmp",
    network=Network.NONE,
    max_scratch=512,
    stdin=Stdin.ONCE,
    terminal=Terminal(80, 24, "vt100"),
    env={"SECRET": "yes"},
    timeout=1.5,
    stop_signal=37,
    stop_grace_period=0.25,
    labels={"team": "blue"},
    owner="CN=alice",
    request_id="r-1",
    priority=-7,
    queue_timeout=2.5,
    queue="batch",
    node_selector={"disk": "fast"},
    retry_on_lost=True,
    node="n1",
    attempt=2,
    fenced=True,
)
FULL = Job(
    id=JOB_ID,
    spec=FULL_SPEC,
    status=JobStatus.FAILED,
    create_time_ns=1_000_000_001,
    start_time_ns=2_000_000_002,
    end_time_ns=3_000_000_003,
    pid=42,
    exit_code=3,
    termination=Termination(
        reason=TerminationReason.OOM_KILLED,
        signal=9,
        message="too much",
        leftovers_killed=True,
        oom_killed=True,
        stopped_by="CN=bob",
        start_error=StartError("CommandNotStarted", "command", "ENOENT"),
    ),
    applied_limits=(
        AppliedLimit(limit="max_cpu", in_force=True, file="cpu.max", value="1 2", reason="because"),
    ),
    usage=Usage(**{name: number for number, name in enumerate(Usage.__struct_fields__, 1)}),
    applied_isolation=(AppliedIsolation(part="user", in_force=True, value="job (7)", reason="why"),),
    log_size=99,
    kill_pending=True,
    memory_high_lift_time_ns=4_000_000_004,
    terminal_resizes=(TerminalResize(101, 33, 55),),
    queue_position=12,
    queue_reason="11 jobs are ahead",
    trace=JobTrace(TraceContext("00-a-b-01", "c=d"), "e", (Step("exec", 1, 2),)),
)

NOT_SHOWN = {"spec.env", "spec.request_id", "spec.fenced", "was_queued"}
"""The environment can contain secrets, and only the creator of the job needs the request id. Only the
supervisor needs to know which jobs were queued, and which end with its lease. No field of the trace is
shown, either.
"""


def _unset(message: Message, descriptor: Descriptor, path: str = "") -> Iterator[str]:
    """Yield the names of unset fields in a message and its nested messages."""
    for name, described in descriptor.fields_by_name.items():
        value = getattr(message, name)
        if described.message_type and described.message_type.file.package == "jobworker.v1":
            entries = value if described.is_repeated and not _is_map(described) else [value]
            for entry in [] if _is_map(described) else entries:
                yield from _unset(entry, described.message_type, f"{path}{name}.")
        elif not (value or (described.has_presence and message.HasField(name))):
            yield path + name


def _is_map(described: FieldDescriptor) -> bool:
    return bool(described.message_type and described.message_type.GetOptions().map_entry)


_OTHER_NAMES = {"max_cpu": "max_memory", "user": "network"}
"""Other values of strings that name a limit or a part of the isolation."""

_OTHERS: dict[type, Callable[[Any], object]] = {
    bool: lambda value: not value,
    int: lambda value: value + 1,
    float: lambda value: value + 1,
    str: lambda value: _OTHER_NAMES.get(value, value + "x"),
    dict: lambda value: {**value, "more": "x"},
    tuple: lambda value: (*value, value[0]),
    JobStatus: lambda _: JobStatus.STOPPED,
    LimitsPolicy: lambda _: LimitsPolicy.BEST_EFFORT,
    Network: lambda _: Network.HOST,
    Stdin: lambda _: Stdin.NONE,
    Terminal: lambda _: None,
    TerminationReason: lambda _: TerminationReason.EXITED,
}
"""For each field type, a function that returns a different value."""


def _variants(struct: msgspec.Struct, path: str = "") -> Iterator[tuple[str, msgspec.Struct]]:
    """Yield copies of the struct, each with one changed field of the struct or a nested struct."""
    for name in struct.__struct_fields__:
        value = getattr(struct, name)
        if isinstance(value, msgspec.Struct):
            for inner_path, inner in _variants(value, f"{path}{name}."):
                yield inner_path, msgspec.structs.replace(struct, **{name: inner})
            continue
        if isinstance(value, tuple) and isinstance(value[0], msgspec.Struct):
            for inner_path, inner in _variants(value[0], f"{path}{name}."):
                yield inner_path, msgspec.structs.replace(struct, **{name: (inner,)})
        yield path + name, msgspec.structs.replace(struct, **{name: _OTHERS[type(value)](value)})


def test_every_field_of_the_message_is_filled() -> None:
    assert list(_unset(job_to_proto(FULL), job_pb2.Job.DESCRIPTOR)) == []


@pytest.mark.parametrize(("path", "job"), [pytest.param(*each, id=each[0]) for each in _variants(FULL)])
def test_every_field_of_the_struct_is_converted(path: str, job: Job) -> None:
    assert (job_to_proto(job) == job_to_proto(FULL)) == _is_hidden(path)


def _is_hidden(path: str) -> bool:
    return path in NOT_SHOWN or path.startswith("trace.")


@pytest.mark.parametrize(
    ("enum", "prefix", "descriptor"),
    [
        (JobStatus, "JOB_STATUS_", job_pb2.JobStatus.DESCRIPTOR),
        (LimitsPolicy, "LIMITS_POLICY_", job_pb2.LimitsPolicy.DESCRIPTOR),
        (TerminationReason, "TERMINATION_REASON_", job_pb2.TerminationReason.DESCRIPTOR),
    ],
)
def test_enums_have_the_same_names(
    enum: type[JobStatus | LimitsPolicy | TerminationReason], prefix: str, descriptor: Descriptor
) -> None:
    api = {value.name for value in descriptor.values if value.number}  # type: ignore[attr-defined]  # an enum's
    assert api == {prefix + member.name for member in enum}


def test_every_limit_has_a_number() -> None:
    assert set(LIMITS) == {*Limits.__struct_fields__, CONTAINMENT}


def test_every_part_of_the_isolation_has_a_number() -> None:
    others = {USER, WRITABLE_PATHS, NO_NEW_PRIVILEGES, SESSION_KEYRING, NETWORK, SECCOMP, SCRATCH}
    assert set(ISOLATION_PARTS) == others | {f"{each.name}_namespace" for each in CONFIGURABLE}


def test_missing_values_are_unset() -> None:
    message = job_to_proto(JOB)
    for name in ("start_time", "end_time", "exit_code", "termination", "timeout"):
        assert not message.HasField(name)
    assert not message.usage.HasField("cpu_user_usec")


def test_an_exit_code_of_zero_is_set() -> None:
    assert job_to_proto(msgspec.structs.replace(JOB, exit_code=0)).HasField("exit_code")


def test_a_real_time_signal_has_a_name() -> None:
    assert job_to_proto(FULL).stop_signal == "SIGRTMIN+3"


def test_times_keep_their_nanoseconds() -> None:
    assert timestamp(1_700_000_000_123_456_789).ToNanoseconds() == 1_700_000_000_123_456_789


@pytest.mark.parametrize("seconds", [0.0, 0.25, 1.5, 86_400.0, 315_576_000_000.0])
def test_durations(seconds: float) -> None:
    message = duration(seconds)
    assert message.seconds + message.nanos / 1e9 == seconds
