"""The scenarios: each is played with every client that can."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.interop.clients.registry import Ability, ClientKind
from tests.interop.scenarios import jobs, output, refusals
from tests.interop.stage import Stage


@dataclass(frozen=True)
class Scenario:
    """A row of the matrix."""

    name: str
    play: Callable[[Stage], None]
    needs: Ability | None = None

    def obstacle(self, kind: ClientKind) -> str:
        """Returns why a client cannot play it; empty if it can."""
        return kind.lacks.get(self.needs, "") if self.needs else ""


SCENARIOS = (
    Scenario("create with limits, env, labels", jobs.create_with_limits_env_and_labels),
    Scenario("create twice with one request_id", jobs.create_twice_is_one_job),
    Scenario("get", jobs.get),
    Scenario("list by pages", jobs.list_by_pages),
    Scenario("list by label and status", jobs.list_by_label_and_status),
    Scenario("stop with grace", jobs.stop_with_grace),
    Scenario("wait", jobs.wait),
    Scenario("result: exit code", jobs.result_exit_code),
    Scenario("result: signal", jobs.result_signal),
    Scenario("result: timeout", jobs.result_timeout),
    Scenario("follow 64 MiB over a cut connection", output.follow_over_a_cut, Ability.RESUME),
    Scenario("follow over a stalled reader's cut-off", output.follow_over_a_stall, Ability.RESUME),
    Scenario("follow over a restart of the API", output.follow_over_a_restart, Ability.RESUME),
    Scenario("follow binary output", output.follow_binary),
    Scenario("from an offset", output.from_an_offset),
    Scenario("tail: lines", output.tail_of_lines),
    Scenario("tail: bytes", output.tail_of_bytes),
    Scenario("one source", output.one_source),
    Scenario("both sources by turns", output.both_sources_by_turns),
    Scenario("without following", output.without_following),
    Scenario("output given up by the server", output.truncated),
    Scenario("cancel frees the server's reader", output.cancel_frees_the_reader),
    Scenario("error: unknown id", refusals.unknown_id),
    Scenario("error: bad arguments", refusals.bad_arguments),
    Scenario("error: no such command", refusals.no_such_command),
    Scenario("error: offset past the end", refusals.offset_past_the_end),
    Scenario("error: denied as viewer", refusals.denied_as_viewer),
    Scenario("error: certificate of another CA", refusals.certificate_of_another_authority),
    Scenario("error: server of another CA", refusals.server_of_another_authority),
    Scenario("error: too many jobs", refusals.too_many_jobs),
    Scenario("error: deadline", refusals.deadline),
)
