"""A real Prometheus and promtool, from Debian's package. `tools/prometheus --setup` downloads them."""

import contextlib
import json
import re
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from live import until

ROOT = Path(__file__).parents[2]
_START_SECONDS = 60
_CONFIG = """
global: {{scrape_interval: 2s, scrape_timeout: 2s}}
scrape_configs:
  - job_name: jobworker
    static_configs: [{{targets: ["{target}"]}}]
"""
_LISTENING = re.compile(r'msg="Listening on" address=(\S+)')


def program(name: str) -> Path:
    """Return the path of `prometheus` or `promtool`."""
    found = subprocess.run([ROOT / "tools/prometheus"], capture_output=True, text=True, check=False)
    assert found.returncode == 0, f"{found.stderr}; run: make metrics-tools"
    return Path(found.stdout.strip()) / name


def promtool(*arguments: str | Path, text: str = "") -> str:
    """Run promtool with a standard input, and return its output. It must succeed."""
    argv = [program("promtool"), *arguments]
    done = subprocess.run(argv, input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


@dataclass(frozen=True)
class Prometheus:
    """A running Prometheus that scrapes one server every two seconds."""

    url: str

    @classmethod
    @contextlib.contextmanager
    def started(cls, target: str, directory: Path) -> Iterator["Prometheus"]:
        """Start it with its data in a directory. `target` is the address of the endpoint."""
        config, log = directory / "prometheus.yml", directory / "prometheus.log"
        config.write_text(_CONFIG.format(target=target))
        argv: list[str | Path] = [
            program("prometheus"),
            f"--config.file={config}",
            f"--storage.tsdb.path={directory / 'data'}",
        ]
        argv += ["--web.listen-address=127.0.0.1:0", "--enable-feature=exemplar-storage"]
        with log.open("wb") as stderr, subprocess.Popen(argv, stderr=stderr) as process:
            try:
                until(lambda: "Server is ready" in log.read_text(), _START_SECONDS)
                listening = _LISTENING.search(log.read_text())
                assert listening
                yield cls(f"http://{listening[1]}")
            finally:
                process.terminate()

    def get(self, path: str, **parameters: str) -> Any:
        """Return the data of a successful request to the API."""
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{query}", timeout=30) as response:
            answer = json.load(response)
        assert answer["status"] == "success", answer
        return answer["data"]

    def query(self, expression: str) -> list[tuple[Mapping[str, str], float]]:
        """Return the labels and the value of each series of an expression."""
        found = self.get("query", query=expression)["result"]
        return [(each["metric"], float(each["value"][1])) for each in found]

    def values(self, expression: str, label: str) -> dict[str, float]:
        """Return the values of an expression by a label."""
        return {labels[label]: value for labels, value in self.query(expression)}

    def exemplars(self, selector: str) -> list[Mapping[str, Any]]:
        """Return the exemplars of the last hour of a selector of series."""
        now = time.time()
        found = self.get("query_exemplars", query=selector, start=str(now - 3600), end=str(now + 60))
        return [exemplar for series in found for exemplar in series["exemplars"]]
