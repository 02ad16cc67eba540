"""Validation of requests to create and update jobs: values at the bounds and just outside of them."""

import pytest
from api_server import JOB_ID
from google.protobuf.duration_pb2 import Duration

from jobworker.v1 import job_pb2, job_service_pb2
from jobworkerd.config import CapacityConfig, Config, Defaults, IsolationConfig, ScratchConfig
from jobworkerd.errors import InvalidRequest
from jobworkerd.model import Limits, LimitsPolicy, LimitsUpdate
from jobworkerd.rpc_server import validation

CreateRequest = job_service_pb2.CreateJobRequest
UpdateRequest = job_service_pb2.UpdateJobRequest

CONFIG = Config()

VALID: list[tuple[str, object]] = [
    ("command", "x" * 4_096),
    ("args", ["x"] * 16_384),
    ("args", ["x" * 131_071, ""]),
    ("max_cpu", 100_000),
    ("max_memory", 16_777_216),
    ("max_io_bps", 2**40),
    ("max_io_iops", 2**31),
    ("max_pids", 4_194_304),
    ("cpu_weight", 10_000),
    ("cpu_set", "0-1,3,8191"),
    ("working_directory", "/tmp"),
    ("env", {f"N{number}": "" for number in range(1_024)}),
    ("env", {"N": "x" * 262_143}),
    ("timeout", Duration(nanos=1)),
    ("timeout", Duration(seconds=315_576_000_000)),
    ("labels", {f"key{number}": "" for number in range(64)}),
    ("labels", {"a" * 63: "ä" * 128}),
    ("labels", {"team.example.com/Name_1-x": "any value"}),
    ("stop_signal", "USR1"),
    ("stop_signal", "SIGRTMIN+3"),
    ("stop_grace_period", Duration()),
    ("stop_grace_period", Duration(seconds=86_400)),
    ("request_id", " ~" * 64),
    ("priority", -100),
    ("priority", 100),
    ("queue_timeout", Duration(nanos=1)),
    ("queue_timeout", Duration(seconds=31_536_000)),
    ("limits_policy", job_pb2.LIMITS_POLICY_STRICT),
    ("network", job_pb2.JOB_NETWORK_NONE),
    ("stdin", job_pb2.JOB_STDIN_ONCE),
    ("terminal", job_pb2.JobTerminal(columns=65_535, rows=1, term=" ~" * 32)),
]

INVALID: list[tuple[str, object]] = [
    ("command", ""),
    ("command", "a\0b"),
    ("command", "x" * 4_097),
    ("command", "ä" * 2_049),
    ("args", ["x"] * 16_385),
    ("args", ["x" * 131_072]),
    ("args", ["fine", "a\0b"]),
    ("max_cpu", -1),
    ("max_cpu", 100_001),
    ("max_memory", -1),
    ("max_memory", 16_777_217),
    ("max_io_bps", -1),
    ("max_io_bps", 2**40 + 1),
    ("max_io_iops", -1),
    ("max_io_iops", 2**31 + 1),
    ("cpu_weight", -1),
    ("cpu_weight", 10_001),
    ("cpu_set", "0,"),
    ("cpu_set", "8192"),
    ("max_pids", -1),
    ("max_pids", 4_194_305),
    ("working_directory", "tmp"),
    ("working_directory", "/a\0b"),
    ("working_directory", "/" + "x" * 4_096),
    ("env", {"": "x"}),
    ("env", {"A=B": "x"}),
    ("env", {"A\0": "x"}),
    ("env", {"A": "x\0"}),
    ("env", {f"N{number}": "" for number in range(1_025)}),
    ("env", {"N": "x" * 262_144}),
    ("timeout", Duration()),
    ("timeout", Duration(seconds=-1)),
    ("timeout", Duration(seconds=315_576_000_000, nanos=1)),
    ("timeout", Duration(seconds=1, nanos=-1)),
    ("timeout", Duration(nanos=1_000_000_000)),
    ("labels", {f"key{number}": "" for number in range(65)}),
    ("labels", {"": "x"}),
    ("labels", {"a" * 64: "x"}),
    ("labels", {"a b": "x"}),
    ("labels", {"a\n": "x"}),
    ("labels", {"a": "ä" * 129}),
    ("stop_signal", "SIGNOPE"),
    ("stop_signal", "0"),
    ("stop_signal", "32"),
    ("stop_grace_period", Duration(nanos=-1)),
    ("stop_grace_period", Duration(seconds=86_400, nanos=1)),
    ("request_id", "x" * 129),
    ("request_id", "a\n"),
    ("request_id", "ä"),
    ("max_scratch", -1),
    ("max_scratch", 16_777_217),
    ("priority", -101),
    ("priority", 101),
    ("queue_timeout", Duration()),
    ("queue_timeout", Duration(seconds=-1)),
    ("queue_timeout", Duration(seconds=31_536_000, nanos=1)),
    ("limits_policy", 77),
    ("network", 77),
    ("stdin", 77),
    ("terminal", job_pb2.JobTerminal(columns=65_536)),
    ("terminal", job_pb2.JobTerminal(rows=-1)),
    ("terminal", job_pb2.JobTerminal(term="é")),
    ("queue", "batch"),
    ("node_selector", {"disk": "fast"}),
    ("retry_on_lost", True),
]


def _request(field: str, value: object) -> CreateRequest:
    return CreateRequest(**{"command": "true", field: value})  # type: ignore[arg-type]  # any field


def _test_id(index: int, field: str) -> str:
    return f"{field}-{index}"


@pytest.mark.parametrize(
    ("field", "value"), [pytest.param(*each, id=_test_id(index, each[0])) for index, each in enumerate(VALID)]
)
def test_values_at_the_bounds_pass(field: str, value: object) -> None:
    validation.job_spec(_request(field, value), CONFIG, "CN=alice")


@pytest.mark.parametrize(
    ("field", "value"),
    [pytest.param(*each, id=_test_id(index, each[0])) for index, each in enumerate(INVALID)],
)
def test_values_outside_of_the_bounds_are_refused_by_field_name(field: str, value: object) -> None:
    with pytest.raises(InvalidRequest) as caught:
        validation.job_spec(_request(field, value), CONFIG, "CN=alice")
    assert list(caught.value.violations) == [field]
    assert caught.value.violations[field]


def test_cores_have_the_format_of_the_kernel() -> None:
    spec = validation.job_spec(_request("cpu_set", "3,1,0"), CONFIG, "CN=alice")
    assert spec.limits.cpu_set == "0-1,3"


def _update(**fields: object) -> LimitsUpdate:
    request = UpdateRequest(id=JOB_ID, **fields)  # type: ignore[arg-type]  # any field
    return validation.update_job(request, CONFIG.defaults, "CN=alice").limits


def test_an_update_replaces_0_by_the_defaults() -> None:
    assert _update(max_pids=7) == LimitsUpdate(max_pids=7)
    assert _update(max_cpu=0, max_io_bps=0) == LimitsUpdate(max_cpu=10, max_io_bps=0)
    assert _update(cpu_set="", cpu_weight=0).changes == {"cpu_set": "", "cpu_weight": 0}
    assert _update() == LimitsUpdate()


def test_an_update_can_change_every_limit() -> None:
    names = set(UpdateRequest.DESCRIPTOR.fields_by_name) - {"id"}
    assert names == set(LimitsUpdate.__struct_fields__) == set(Limits.__struct_fields__)
    for name in names:
        created, updated = (each.DESCRIPTOR.fields_by_name[name] for each in (CreateRequest, UpdateRequest))
        assert (created.number, created.type) == (updated.number, updated.type)


LIMITS_OUT_OF_BOUNDS = [each for each in INVALID if each[0] in Limits.__struct_fields__]


@pytest.mark.parametrize(("field", "value"), LIMITS_OUT_OF_BOUNDS)
def test_an_update_has_the_bounds_of_create(field: str, value: object) -> None:
    with pytest.raises(InvalidRequest) as caught:
        _update(**{field: value})
    assert list(caught.value.violations) == [field]


def test_an_error_names_all_invalid_fields() -> None:
    request = CreateRequest(max_cpu=-1, stop_signal="SIGNOPE", request_id="ä")
    with pytest.raises(InvalidRequest) as caught:
        validation.job_spec(request, CONFIG, "CN=alice")
    assert set(caught.value.violations) == {"command", "max_cpu", "stop_signal", "request_id"}


def test_every_field_has_an_invalid_value_in_the_table() -> None:
    assert {field for field, _ in INVALID} == set(CreateRequest.DESCRIPTOR.fields_by_name)


def test_unset_fields_get_the_defaults_of_the_server() -> None:
    defaults = Defaults(
        max_cpu=1,
        max_memory=2,
        max_io_bps=3,
        max_pids=4,
        stop_grace_period=5.0,
        limits_policy=LimitsPolicy.STRICT,
    )
    spec = validation.job_spec(CreateRequest(command="true"), Config(defaults=defaults), "CN=alice")
    assert spec.limits == defaults.limits
    assert (spec.stop_grace_period, spec.limits_policy) == (5.0, LimitsPolicy.STRICT)
    assert (spec.working_directory, spec.stop_signal, spec.timeout) == ("", 15, None)
    assert (spec.owner, spec.request_id, spec.args) == ("CN=alice", "", ())
    assert (spec.priority, spec.queue_timeout) == (0, None)


def test_set_fields_are_used() -> None:
    request = CreateRequest(
        command="ping",
        args=["-c", "5"],
        max_cpu=25,
        working_directory="/tmp",
        env={"A": "b"},
        labels={"team": "blue"},
        stop_signal="INT",
        request_id="r-1",
        limits_policy=job_pb2.LIMITS_POLICY_BEST_EFFORT,
        priority=-3,
    )
    request.timeout.FromMilliseconds(1_500)
    request.stop_grace_period.FromMilliseconds(0)
    request.queue_timeout.FromMilliseconds(2_500)
    config = Config(defaults=Defaults(limits_policy=LimitsPolicy.STRICT))
    spec = validation.job_spec(request, config, "CN=alice")
    assert (spec.command, spec.args, spec.limits.max_cpu) == ("ping", ("-c", "5"), 25)
    assert (spec.env, spec.labels, spec.request_id) == ({"A": "b"}, {"team": "blue"}, "r-1")
    assert (spec.timeout, spec.stop_grace_period, spec.stop_signal) == (1.5, 0.0, 2)
    assert (spec.working_directory, spec.limits_policy) == ("/tmp", LimitsPolicy.BEST_EFFORT)
    assert (spec.priority, spec.queue_timeout) == (-3, 2.5)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("max_memory", -5, "-5 is negative; use 1 to 16777216 MiB, or 0 for the server's default"),
        ("cpu_weight", 10_001, "10001 is too large; use 1 to 10000, or 0 for the kernel's default of 100"),
        ("limits_policy", 7, "unknown limits policy 7; use BEST_EFFORT or STRICT"),
        ("network", 7, "unknown network 7; use HOST or NONE"),
        ("command", "", "empty; use the path or the name of a program"),
        ("command", "x" * 5_000, "has 5000 bytes; use at most 4096"),
        ("working_directory", "tmp", "'tmp' is relative; use an absolute path, which starts with /"),
        ("args", ["", "x" * 131_072], "argument 1 has 131072 bytes; use at most 131071"),
        ("env", {"N": "x" * 262_144}, "has 262145 bytes of names and values; use at most 262144"),
        ("labels", {"a": "x" * 257}, "value of 'a' has 257 bytes; use at most 256"),
        ("timeout", Duration(), "0 s is too short; use more than 0 s, or leave it unset for no timeout"),
        (
            "queue_timeout",
            Duration(),
            "0 s is too short; use more than 0 s, or leave it unset for a job that does not wait",
        ),
        ("priority", 101, "101 is too large; use -100 to 100"),
        ("priority", -101, "-101 is too small; use -100 to 100"),
        ("stop_grace_period", Duration(seconds=-1), "-1 is negative; use 0 to 86400 s"),
        ("stop_grace_period", Duration(seconds=86_400, nanos=1), "more than 86400 s; use 0 to 86400 s"),
        (
            "stop_signal",
            "NOPE",
            "unknown signal 'NOPE'; use a name such as SIGTERM or a number, see signal(7)",
        ),
        ("request_id", "x" * 129, "has 129 printable ASCII characters; use at most 128"),
    ],
)
def test_a_message_has_the_value_and_the_accepted_values(field: str, value: object, message: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        validation.job_spec(_request(field, value), CONFIG, "CN=alice")
    assert caught.value.violations == {field: message}


def test_a_job_above_the_whole_capacity_is_refused() -> None:
    capacity = CapacityConfig(cpu=200, memory=512)
    request = CreateRequest(command="true", max_cpu=201, max_memory=512)
    with pytest.raises(InvalidRequest) as caught:
        validation.job_spec(request, Config(capacity=capacity), "CN=alice")
    assert str(caught.value) == "max_cpu: 201 is above capacity.cpu of the server; use at most 200"


def test_a_scratch_above_the_bound_of_the_server_is_refused() -> None:
    config = Config(scratch=ScratchConfig(default=64, max=100))
    assert (
        validation.job_spec(CreateRequest(command="true", max_scratch=100), config, "CN=alice").max_scratch
        == 100
    )
    with pytest.raises(InvalidRequest) as caught:
        validation.job_spec(CreateRequest(command="true", max_scratch=101), config, "CN=alice")
    assert str(caught.value) == "max_scratch: 101 is above scratch.max of the server; use at most 100"


@pytest.mark.parametrize(("private", "given", "expected"), [(True, 0, 64), (False, 0, 0), (False, 5, 5)])
def test_the_default_scratch_requires_private_directories(private: bool, given: int, expected: int) -> None:  # noqa: FBT001
    config = Config(scratch=ScratchConfig(default=64), isolation=IsolationConfig(mount_namespace=private))
    spec = validation.job_spec(CreateRequest(command="true", max_scratch=given), config, "CN=alice")
    assert spec.max_scratch == expected
