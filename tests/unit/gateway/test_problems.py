"""Problems of the watches, in the log and in time."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from jobworker_gateway.kubernetes.problems import Problems


@dataclass
class Watch:
    """The state of a watch, which a test changes."""

    problem: str = ""
    is_refused: bool = False
    now: float = 100.0


@pytest.fixture
def lines() -> Iterator[list[EventDict]]:
    """The lines of the log."""
    with capture_logs() as found:
        yield found


@pytest.fixture
def watch() -> Watch:
    """The only watch."""
    return Watch()


@pytest.fixture
def problems(watch: Watch) -> Problems:
    """The problems of the watch."""
    return Problems(lambda: watch.problem, [watch], lambda: watch.now)


def _look(problems: Problems, watch: Watch, problem: str, *, refused: bool = False) -> None:
    watch.problem, watch.is_refused = problem, refused
    watch.now += 1.0
    problems.look()


def _events(lines: list[EventDict]) -> list[tuple[str, str]]:
    return [(line["event"], line.get("reason", "")) for line in lines]


def test_a_start_is_not_logged(problems: Problems, watch: Watch, lines: list[EventDict]) -> None:
    _look(problems, watch, "pods: not listed yet")
    _look(problems, watch, "")
    assert not lines


def test_a_problem_is_logged_once(problems: Problems, watch: Watch, lines: list[EventDict]) -> None:
    for problem in ("no route", "no answer", "", ""):
        _look(problems, watch, problem)
    assert _events(lines) == [("cluster not reachable", "no route"), ("cluster reachable again", "")]


def test_a_refusal_is_logged_at_once(problems: Problems, watch: Watch, lines: list[EventDict]) -> None:
    for _ in range(2):
        _look(problems, watch, "forbidden", refused=True)
    assert _events(lines) == [("cluster refuses the gateway", "forbidden")]


def test_an_apiserver_that_starts_is_not_one_that_refuses_the_gateway(
    problems: Problems, watch: Watch, lines: list[EventDict]
) -> None:
    _look(problems, watch, "connection refused")
    _look(problems, watch, "forbidden", refused=True)
    recent = [problems.is_recent]
    _look(problems, watch, "")
    recent.append(problems.is_recent)
    assert recent == [True, False]
    assert [event for event, _ in _events(lines)] == ["cluster not reachable", "cluster reachable again"]


def test_a_refusal_that_stays_after_a_start_is_logged(
    problems: Problems, watch: Watch, lines: list[EventDict]
) -> None:
    _look(problems, watch, "connection refused")
    watch.now += 28.0
    recent = []
    for _ in range(2):
        _look(problems, watch, "forbidden", refused=True)
        recent.append(problems.is_recent)
    assert recent == [True, False]
    assert _events(lines) == [
        ("cluster not reachable", "connection refused"),
        ("cluster refuses the gateway", "forbidden"),
    ]


def test_a_problem_is_recent_before_it_is_noticed(problems: Problems, watch: Watch) -> None:
    recent = [problems.is_recent]
    watch.problem = "connection refused"
    recent.append(problems.is_recent)
    assert recent == [False, True]
