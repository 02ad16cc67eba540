"""The metrics of a live server, scraped by a real Prometheus."""

import json
import re
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psutil
import pytest
from conftest import BIN
from otlp_metrics_receiver import OtlpMetricsReceiver
from prometheus import Prometheus, promtool
from restarts import kill_supervisor, lasting_client, persist

from jobworker.v1 import job_service_pb2
from live import Server, until
from live_client import Client, client

ROOT = Path(__file__).parents[2]
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = ("traceparent", f"00-{TRACE_ID}-b7ad6b7169203331-01")
PROCESSES = ("0", "1")
ALL_UP = dict.fromkeys(PROCESSES, 1.0)
UP = "jobworker_api_process_up"


@pytest.fixture(scope="module")
def collector() -> Iterator[OtlpMetricsReceiver]:
    """A collector to which the server exports its metrics by OTLP."""
    with OtlpMetricsReceiver.started() as started:
        yield started


@pytest.fixture(scope="module")
def server(
    certs: Path, tmp_path_factory: pytest.TempPathFactory, collector: OtlpMetricsReceiver
) -> Iterator[Server]:
    """A server with two API processes and an endpoint."""
    settings = {"JOBWORKERD_METRICS_LISTEN": "127.0.0.1:0", "JOBWORKERD_API_PROCESSES": "2"}
    settings |= collector.variables
    with Server.started(BIN, certs, tmp_path_factory.mktemp("metrics"), **settings) as started:
        yield started


@pytest.fixture(scope="module")
def target(server: Server) -> str:
    """The address of the endpoint."""
    return server.wait_for_event("serving")["metrics"]


@pytest.fixture(scope="module")
def prometheus(target: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Prometheus that has scraped the server."""
    with Prometheus.started(target, tmp_path_factory.mktemp("prometheus")) as started:
        until(lambda: started.query("up == 1"), 60)
        yield started


@pytest.fixture
async def admin(server: Server) -> AsyncIterator[Client]:
    async with client(server, "admin") as connected:
        yield connected


def scrape(target: str) -> str:
    """Return the metrics. Repeat a scrape that reaches an API process that does not answer."""

    def get() -> str:
        try:
            with urllib.request.urlopen(f"http://{target}/metrics", timeout=3) as response:
                body: bytes = response.read()
                return body.decode()
        except OSError:
            return ""

    return until(get, 60)


def values(target: str) -> dict[str, float]:
    """Return the value of each series in a new scrape."""
    lines = (line.rpartition(" ") for line in scrape(target).splitlines() if not line.startswith("#"))
    return {series: float(value) for series, _, value in lines}


def up(target: str) -> dict[str, float]:
    """Return which API processes answer a new scrape, by their numbers."""
    found = values(target)
    return {number: found[f'{UP}{{api_process="{number}"}}'] for number in PROCESSES}


async def test_the_endpoint_passes_promtool(target: str, admin: Client) -> None:
    await admin.run("echo", "hello")
    promtool("check", "metrics", text=scrape(target))


def test_all_api_processes_are_one_target(prometheus: Prometheus, target: str) -> None:
    (found,) = prometheus.get("targets")["activeTargets"]
    assert found["labels"] == {"instance": target, "job": "jobworker"}
    # On a busy machine, a process can be late for one scrape.
    until(lambda: prometheus.values(UP, "api_process") == ALL_UP)
    until(lambda: prometheus.values("jobworker_reader_active", "api_process").keys() == ALL_UP.keys())


async def test_jobs_and_their_output(prometheus: Prometheus, admin: Client) -> None:
    ((_, before),) = until(lambda: prometheus.query("jobworker_log_written_bytes_total"))
    job = await admin.create("sh", "-c", "head -c 1000000 /dev/zero; exec sleep 1000")
    running = 'jobworker_job_active{state="running"} == 1'
    until(lambda: prometheus.query(running))
    until(lambda: prometheus.query(f"jobworker_log_written_bytes_total >= {before + 1_000_000}"))
    await admin.stop(job.id, seconds=0)
    until(lambda: prometheus.query('jobworker_job_duration_seconds_count{result="stopped"} == 1'))
    until(lambda: prometheus.query(running.replace("== 1", "== 0")))


async def test_exemplars_lead_to_traces(prometheus: Prometheus, admin: Client) -> None:
    request = job_service_pb2.CreateJobRequest(command="true")
    response = await admin.stub.CreateJob(request, timeout=60, metadata=[TRACEPARENT])
    await admin.stream(response.job.id)
    for histogram in ("rpc_server_call_duration_seconds", "jobworker_job_start_duration_seconds"):
        stored = until(lambda name=histogram: prometheus.exemplars(f"{name}_bucket"))  # type: ignore[misc]
        assert {each["labels"]["trace_id"] for each in stored} == {TRACE_ID}


def expressions() -> list[str]:
    """Return the expressions of the dashboard for Grafana, with values for its variables."""
    dashboard = json.loads((ROOT / "packaging/grafana/jobworker.json").read_text())
    found = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    return [each.replace("$instance", ".*").replace("$__rate_interval", "1m") for each in found]


async def test_every_panel_of_the_dashboard_has_data(prometheus: Prometheus, admin: Client) -> None:
    await admin.run("true")
    for expression in expressions():
        assert prometheus.get("format_query", query=expression)
        until(lambda each=expression: prometheus.query(each))  # type: ignore[misc]


def test_the_alert_rules() -> None:
    directory = ROOT / "packaging/prometheus"
    promtool("check", "rules", directory / "alerts.yml")
    promtool("test", "rules", directory / "alerts_test.yml")


def test_the_alert_rules_use_existing_metrics(target: str) -> None:
    """A rule with a metric that was renamed would never fire."""
    rules = (ROOT / "packaging/prometheus/alerts.yml").read_text()
    used = set(re.findall(r"\bjobworker_\w+", rules))
    names = set(re.findall(r"^\w+", scrape(target), flags=re.MULTILINE))
    assert used
    assert used - names == set()


def test_one_process_exports_the_metrics_of_the_supervisor(
    server: Server, target: str, collector: OtlpMetricsReceiver
) -> None:
    until(lambda: len(collector.instances("jobworker.reader.active")) == len(PROCESSES))
    (supervisor,) = until(lambda: collector.instances("jobworker.queue.length"))
    assert collector.instances("jobworker.job.start.duration") == {supervisor}
    for process in server.api_processes():
        process.kill()
        until(lambda pid=process.pid: not psutil.pid_exists(pid))  # type: ignore[misc]
    until(lambda: up(target) == ALL_UP)
    since = len(collector.metrics)
    assert until(lambda: collector.instances("jobworker.queue.length", since)) == {supervisor}


def test_a_process_that_does_not_answer_is_missing(server: Server, target: str) -> None:
    stopped = server.api_processes()[0]
    stopped.send_signal(signal.SIGSTOP)
    try:
        found = until(lambda: without_one(values(target)), 60)
    finally:
        stopped.send_signal(signal.SIGCONT)
    (missing,) = [number for number in PROCESSES if not found[f'{UP}{{api_process="{number}"}}']]
    assert f'jobworker_reader_active{{api_process="{missing}"}}' not in found
    until(lambda: up(target) == ALL_UP)


def without_one(found: dict[str, float]) -> dict[str, float] | None:
    """Return the series of a scrape if exactly one API process is missing."""
    states = sorted(value for series, value in found.items() if series.startswith(UP))
    return found if states == [0, 1] else None


def test_a_process_that_is_killed_is_replaced(server: Server, target: str) -> None:
    killed = server.api_processes()[0]
    killed.kill()
    until(lambda: not psutil.pid_exists(killed.pid))
    assert "jobworker_queue_length" in values(target)
    until(lambda: up(target) == ALL_UP)


async def test_the_next_supervisor_counts_the_jobs_that_run(server: Server, target: str) -> None:
    async with lasting_client(server) as admin:
        job = await admin.create("sleep", "1000")
        await kill_supervisor(server)
        until(lambda: values(target)['jobworker_job_active{state="running"}'] == 1)
        assert values(target)["jobworker_job_start_duration_seconds_count"] == 0, "counters start from zero"
        await persist(lambda: admin.stop(job.id, seconds=0))


def test_other_addresses_require_a_client_certificate(certs: Path, tmp_path: Path) -> None:
    with Server.started(BIN, certs, tmp_path / "state", JOBWORKERD_METRICS_LISTEN="0.0.0.0:0") as started:
        port = started.wait_for_event("serving")["metrics"].rpartition(":")[2]
        url = f"https://localhost:{port}/metrics"
        curl: list[str | Path] = ["curl", "--silent", "--show-error", "--cacert", certs / "ca.pem"]
        viewer: list[str | Path] = ["--cert", certs / "viewer.pem", "--key", certs / "viewer-key.pem"]
        allowed = subprocess.run([*curl, *viewer, url], capture_output=True, text=True, check=True)
        assert "jobworker_queue_length 0" in allowed.stdout
        refused = subprocess.run([*curl, url], capture_output=True, text=True, check=False)
        assert (refused.returncode != 0, refused.stdout) == (True, "")
        plain = url.replace("https", "http")
        assert subprocess.run([*curl, plain], capture_output=True, check=False).stdout == b""
