"""The bounds that the protos promise: what is just within them passes, what is just outside is named."""

import base64

import pytest
from api_server import JOB_ID
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from jobworker.v1 import job_pb2, job_service_pb2
from jobworkerd.api import validation
from jobworkerd.api.streaming import streams
from jobworkerd.config import Defaults
from jobworkerd.errors import InvalidRequest, JobNotFound
from jobworkerd.model import JobStatus, Limits, LimitsPolicy, LimitsUpdate, OutputSource

CreateRequest = job_service_pb2.CreateJobRequest
ListRequest = job_service_pb2.ListJobsRequest
StopRequest = job_service_pb2.StopJobRequest
UpdateRequest = job_service_pb2.UpdateJobRequest
StreamRequest = job_service_pb2.GetJobsStreamRequest

DEFAULTS = Defaults()

GOOD: list[tuple[str, object]] = [
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
    ("limits_policy", job_pb2.LIMITS_POLICY_STRICT),
    ("network", job_pb2.JOB_NETWORK_NONE),
]

BAD: list[tuple[str, object]] = [
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
    ("limits_policy", 77),
    ("network", 77),
]


def _request(field: str, value: object) -> CreateRequest:
    return CreateRequest(**{"command": "true", field: value})  # type: ignore[arg-type]  # any field's


def _named(index: int, field: str) -> str:
    return f"{field}-{index}"


@pytest.mark.parametrize(
    ("field", "value"), [pytest.param(*each, id=_named(index, each[0])) for index, each in enumerate(GOOD)]
)
def test_values_at_the_bounds_pass(field: str, value: object) -> None:
    validation.job_spec(_request(field, value), DEFAULTS, "CN=alice")


@pytest.mark.parametrize(
    ("field", "value"), [pytest.param(*each, id=_named(index, each[0])) for index, each in enumerate(BAD)]
)
def test_values_past_the_bounds_are_refused_under_their_fields_name(field: str, value: object) -> None:
    with pytest.raises(InvalidRequest) as caught:
        validation.job_spec(_request(field, value), DEFAULTS, "CN=alice")
    assert list(caught.value.violations) == [field]
    assert caught.value.violations[field]


def test_cores_are_written_as_the_kernel_writes_them() -> None:
    spec = validation.job_spec(_request("cpu_set", "3,1,0"), DEFAULTS, "CN=alice")
    assert spec.limits.cpu_set == "0-1,3"


def _update(**fields: object) -> LimitsUpdate:
    request = UpdateRequest(id=JOB_ID, **fields)  # type: ignore[arg-type]  # any field's
    return validation.update_job(request, DEFAULTS, "CN=alice").limits


def test_an_update_has_what_is_set_and_defaults_where_that_is_0() -> None:
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


LIMITS_OUT_OF_BOUNDS = [each for each in BAD if each[0] in Limits.__struct_fields__]


@pytest.mark.parametrize(("field", "value"), LIMITS_OUT_OF_BOUNDS)
def test_an_update_has_the_bounds_of_create(field: str, value: object) -> None:
    with pytest.raises(InvalidRequest) as caught:
        _update(**{field: value})
    assert list(caught.value.violations) == [field]


def test_every_bad_field_is_named_at_once() -> None:
    request = CreateRequest(max_cpu=-1, stop_signal="SIGNOPE", request_id="ä")
    with pytest.raises(InvalidRequest) as caught:
        validation.job_spec(request, DEFAULTS, "CN=alice")
    assert set(caught.value.violations) == {"command", "max_cpu", "stop_signal", "request_id"}


def test_every_field_has_a_bad_value_in_the_table() -> None:
    assert {field for field, _ in BAD} == set(CreateRequest.DESCRIPTOR.fields_by_name)


def test_what_is_left_out_is_the_servers_default() -> None:
    defaults = Defaults(
        max_cpu=1,
        max_memory=2,
        max_io_bps=3,
        max_pids=4,
        stop_grace_period=5.0,
        limits_policy=LimitsPolicy.STRICT,
    )
    spec = validation.job_spec(CreateRequest(command="true"), defaults, "CN=alice")
    assert spec.limits == defaults.limits
    assert (spec.stop_grace_period, spec.limits_policy) == (5.0, LimitsPolicy.STRICT)
    assert (spec.working_directory, spec.stop_signal, spec.timeout) == ("", 15, None)
    assert (spec.owner, spec.request_id, spec.args) == ("CN=alice", "", ())


def test_what_is_given_is_taken() -> None:
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
    )
    request.timeout.FromMilliseconds(1_500)
    request.stop_grace_period.FromMilliseconds(0)
    spec = validation.job_spec(request, Defaults(limits_policy=LimitsPolicy.STRICT), "CN=alice")
    assert (spec.command, spec.args, spec.limits.max_cpu) == ("ping", ("-c", "5"), 25)
    assert (spec.env, spec.labels, spec.request_id) == ({"A": "b"}, {"team": "blue"}, "r-1")
    assert (spec.timeout, spec.stop_grace_period, spec.stop_signal) == (1.5, 0.0, 2)
    assert (spec.working_directory, spec.limits_policy) == ("/tmp", LimitsPolicy.BEST_EFFORT)


@pytest.mark.parametrize("job_id", ["", "x", JOB_ID + "0", JOB_ID + "\n", "{" + JOB_ID + "}", "../" + JOB_ID])
def test_what_cannot_be_an_id_is_no_job(job_id: str) -> None:
    with pytest.raises(JobNotFound):
        validation.job_id(job_id)


@pytest.mark.parametrize(("asked", "got"), [(0, 50), (1, 1), (1_000, 1_000), (1_001, 1_000)])
def test_page_sizes(asked: int, got: int) -> None:
    assert validation.list_jobs(ListRequest(page_size=asked)).page_size == got
    live = validation.list_jobs(ListRequest(page_size=asked, live_usage=True))
    assert (live.page_size, live.live_usage) == (min(got, 100), True)


def test_filters() -> None:
    request = ListRequest(
        statuses=[job_pb2.JOB_STATUS_RUNNING, job_pb2.JOB_STATUS_LOST], labels={"a": "b"}, id_prefix="0199f"
    )
    listed = validation.list_jobs(request)
    assert listed.statuses == {JobStatus.RUNNING, JobStatus.LOST}
    assert (listed.labels, listed.id_prefix, listed.before) == ({"a": "b"}, "0199f", "")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("page_size", -1),
        ("page_token", "nonsense"),
        ("page_token", "ä"),
        ("page_token", base64.urlsafe_b64encode(b"fifteen bytes..").decode()),
        ("page_token", JOB_ID),
        ("statuses", [job_pb2.JOB_STATUS_UNSPECIFIED]),
        ("statuses", [77]),
        ("id_prefix", "%"),
        ("id_prefix", "a" * 37),
    ],
)
def test_bad_list_requests(field: str, value: object) -> None:
    with pytest.raises(InvalidRequest) as caught:
        validation.list_jobs(ListRequest(**{field: value}))  # type: ignore[arg-type]  # any field's
    assert list(caught.value.violations) == [field]


@pytest.mark.parametrize(
    ("grace_period", "seconds"), [(None, None), (Duration(), 0.0), (Duration(nanos=500_000_000), 0.5)]
)
def test_grace_period_of_a_stop(grace_period: Duration | None, seconds: float | None) -> None:
    stop = validation.stop_job(StopRequest(id=JOB_ID, grace_period=grace_period), "CN=alice")
    assert (stop.job_id, stop.subject, stop.grace_period) == (JOB_ID, "CN=alice", seconds)


@pytest.mark.parametrize("grace_period", [Duration(seconds=-1), Duration(seconds=86_401)])
def test_bad_grace_period_of_a_stop(grace_period: Duration) -> None:
    with pytest.raises(InvalidRequest, match="grace_period"):
        validation.stop_job(StopRequest(id=JOB_ID, grace_period=grace_period), "CN=alice")


def test_a_stream_of_everything() -> None:
    wanted = validation.stream(StreamRequest(id=JOB_ID))
    assert wanted == streams.StreamRequest(job_id=JOB_ID)
    assert wanted.follow
    assert not wanted.begins_elsewhere


def test_a_stream_of_a_part() -> None:
    request = StreamRequest(
        id=JOB_ID,
        offset=3,
        tail_lines=0,
        tail_bytes=7,
        since=Timestamp(seconds=1, nanos=5),
        source=job_service_pb2.OUTPUT_SOURCE_STDERR,
        follow=False,
    )
    assert validation.stream(request) == streams.StreamRequest(
        job_id=JOB_ID,
        offset=3,
        tail_lines=0,
        tail_bytes=7,
        since_ns=1_000_000_005,
        source=OutputSource.STDERR,
        follow=False,
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("offset", -1),
        ("tail_lines", -1),
        ("tail_bytes", -1),
        ("source", 77),
        ("since", Timestamp(nanos=-1)),
        ("since", Timestamp(seconds=253_402_300_800)),
    ],
)
def test_bad_streams(field: str, value: object) -> None:
    with pytest.raises(InvalidRequest) as caught:
        validation.stream(StreamRequest(id=JOB_ID, **{field: value}))  # type: ignore[arg-type]  # any field's
    assert list(caught.value.violations) == [field]


def test_a_stream_of_no_job() -> None:
    with pytest.raises(JobNotFound):
        validation.stream(StreamRequest(id="x"))
