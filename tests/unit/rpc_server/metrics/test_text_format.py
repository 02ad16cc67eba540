"""The merged report of all processes in Prometheus' text form and in OpenMetrics."""

import pytest
from msgspec.structs import replace

from jobworkerd.metrics.definitions import (
    API_PROCESS_UP,
    JOB_OOM_KILLS,
    JOB_START_DURATION,
    LOG_WRITTEN,
    PROCESS_CPU_TIME,
    READER_ACTIVE,
    RPC_DURATION,
)
from jobworkerd.metrics.instruments import Exemplar, Histogram, Sample, Snapshot, sample
from jobworkerd.rpc_server.metrics.merge import merge
from jobworkerd.rpc_server.metrics.text_format import OPENMETRICS, TEXT, content_type, render

TRACE = "0af7651916cd43dd8448eb211c80319c"


def snapshot(*samples: Sample) -> Snapshot:
    return Snapshot(0, samples)


def lines(supervisor: Snapshot, *api_processes: Snapshot | None, form: str = TEXT) -> list[str]:
    return render(merge(supervisor, api_processes), form).splitlines()


def test_counters_and_gauges() -> None:
    supervisor = snapshot(sample(LOG_WRITTEN, 2**60), sample(PROCESS_CPU_TIME, 0.25, "supervisor"))
    found = lines(supervisor, snapshot(sample(READER_ACTIVE, 3), sample(PROCESS_CPU_TIME, 1.0, "api")))
    assert found == [
        "# HELP jobworker_log_written_bytes_total Output of jobs that was stored.",
        "# TYPE jobworker_log_written_bytes_total counter",
        "jobworker_log_written_bytes_total 1152921504606846976",
        "# HELP jobworker_reader_active Clients that stream a log.",
        "# TYPE jobworker_reader_active gauge",
        'jobworker_reader_active{api_process="0"} 3',
        f"# HELP jobworker_api_process_up {API_PROCESS_UP.description}",
        "# TYPE jobworker_api_process_up gauge",
        'jobworker_api_process_up{api_process="0"} 1',
        "# HELP process_cpu_time_seconds_total CPU time of a process of the server.",
        "# TYPE process_cpu_time_seconds_total counter",
        'process_cpu_time_seconds_total{process="supervisor"} 0.25',
        'process_cpu_time_seconds_total{process="api",api_process="0"} 1.0',
    ]


def test_the_same_series_of_several_processes_are_one_metric() -> None:
    parts = [snapshot(sample(READER_ACTIVE, number)) for number in range(3)]
    found = lines(snapshot(), *parts)
    assert found.count("# TYPE jobworker_reader_active gauge") == 1
    assert [f'jobworker_reader_active{{api_process="{n}"}} {n}' for n in range(3)] == found[2:5]


def test_a_process_without_an_answer_is_down() -> None:
    found = lines(snapshot(), snapshot(sample(READER_ACTIVE, 1)), None)
    assert found[-2:] == [
        'jobworker_api_process_up{api_process="0"} 1',
        'jobworker_api_process_up{api_process="1"} 0',
    ]
    assert len([each for each in found if each.startswith("jobworker_reader_active{")]) == 1


@pytest.mark.parametrize(
    "unfit",
    [
        Sample("jobworker.unknown", 1),
        Sample(PROCESS_CPU_TIME.name, 1),
        Sample(LOG_WRITTEN.name, 1, ("more",)),
        Sample(LOG_WRITTEN.name, 1, (), (1, 2)),
        Sample(JOB_START_DURATION.name, 1.0, (), (1, 2)),
    ],
)
def test_a_sample_that_does_not_fit_is_left_out(unfit: Sample) -> None:
    found = lines(snapshot(sample(JOB_OOM_KILLS, 1), unfit))
    assert found[2:] == ["jobworker_job_oom_kills_total 1"]


def test_ids_of_traces_are_quoted() -> None:
    counts = (1, *[0] * len(JOB_START_DURATION.bounds))
    hostile = Sample(JOB_START_DURATION.name, 1.0, (), counts, {0: Exemplar(0.0, 1.5, '"} 1\nup 1')})
    found = lines(snapshot(hostile), form=OPENMETRICS)
    assert r'# {trace_id="\"} 1\nup 1"} 0.0 1.500' in found[3]


def test_histograms_are_cumulative() -> None:
    histogram = Histogram(JOB_START_DURATION)
    for seconds in (0.001, 0.9, 60):
        histogram.record(seconds)
    found = lines(snapshot(*histogram.samples()))
    name = "jobworker_job_start_duration_seconds"
    assert f'{name}_bucket{{le="0.001"}} 1' in found
    assert f'{name}_bucket{{le="0.5"}} 1' in found
    assert found[-5:] == [
        f'{name}_bucket{{le="5.0"}} 2',
        f'{name}_bucket{{le="10.0"}} 2',
        f'{name}_bucket{{le="+Inf"}} 3',
        f"{name}_sum 60.901",
        f"{name}_count 3",
    ]


def test_only_openmetrics_has_exemplars_units_and_an_end() -> None:
    histogram = Histogram(RPC_DURATION)
    histogram.record(0.3, "jobworker.v1.JobService/GetJob", "OK", trace_id=TRACE)
    (found,) = histogram.samples()
    (bucket,) = found.exemplars
    given = replace(found, exemplars={bucket: Exemplar(0.3, 1.5, TRACE)})
    labels = 'rpc_method="jobworker.v1.JobService/GetJob",rpc_response_status_code="OK",api_process="0"'
    bucket_line = f'rpc_server_call_duration_seconds_bucket{{{labels},le="0.5"}} 1'
    text = lines(snapshot(), snapshot(given))
    openmetrics = lines(snapshot(), snapshot(given), form=OPENMETRICS)
    assert bucket_line in text
    assert f'{bucket_line} # {{trace_id="{TRACE}"}} 0.3 1.500' in openmetrics
    assert "# UNIT rpc_server_call_duration_seconds seconds" in openmetrics
    assert openmetrics[-1] == "# EOF"
    assert not [line for line in text if "EOF" in line or "UNIT" in line or TRACE in line]


def test_openmetrics_names_a_counter_without_its_suffix() -> None:
    found = lines(snapshot(sample(JOB_OOM_KILLS, 2)), form=OPENMETRICS)
    assert found[1:] == ["# TYPE jobworker_job_oom_kills counter", "jobworker_job_oom_kills_total 2", "# EOF"]


def test_label_values_are_quoted() -> None:
    found = lines(snapshot(sample(PROCESS_CPU_TIME, 1, 'a"b\\c\nd')))
    assert found[-1] == r'process_cpu_time_seconds_total{process="a\"b\\c\nd"} 1'


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", TEXT),
        ("*/*", TEXT),
        ("text/plain", TEXT),
        ("application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5", OPENMETRICS),
    ],
)
def test_the_client_chooses_the_form(accept: str, expected: str) -> None:
    assert content_type(accept) == expected
