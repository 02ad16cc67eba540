"""The table of scenarios."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.interop.clients.registry import Capability, ClientKind
from tests.interop.environment import Environment
from tests.interop.scenarios import attachments, errors, history, jobs, output, queue, watches


@dataclass(frozen=True)
class Scenario:
    """A row of the matrix."""

    name: str
    run: Callable[[Environment], None]
    needs: Capability | None = None

    def not_applicable(self, kind: ClientKind) -> str:
        """Return why a client cannot run the scenario, or an empty string if it can."""
        return kind.unsupported.get(self.needs, "") if self.needs else ""


SCENARIOS = (
    Scenario("create with limits, env, labels", jobs.create_with_limits_env_and_labels),
    Scenario("create twice with one request_id", jobs.create_twice_with_one_request_id),
    Scenario("get", jobs.get),
    Scenario("list: pages", jobs.list_pages),
    Scenario("list: label and status", jobs.list_by_label_and_status),
    Scenario("list: command, owner and time", history.list_by_command_owner_and_time),
    Scenario("update limits", jobs.update_limits),
    Scenario("stop with grace period", jobs.stop_with_grace_period),
    Scenario("wait", jobs.wait),
    Scenario("wait in the queue", queue.wait_in_the_queue),
    Scenario("ends of jobs that never ran", queue.ends_of_jobs_that_never_ran),
    Scenario("watch", watches.watch_jobs_to_their_ends, Capability.WATCH),
    Scenario(
        "watch over an API process restart", watches.watch_over_an_api_process_restart, Capability.RESUME
    ),
    Scenario("watch over a supervisor restart", watches.watch_over_a_supervisor_restart, Capability.RESUME),
    Scenario("wait over an API process restart", jobs.wait_over_an_api_process_restart, Capability.RESUME),
    Scenario("wait over a supervisor restart", jobs.wait_over_a_supervisor_restart, Capability.RESUME),
    Scenario("calls during a supervisor restart", jobs.calls_during_a_supervisor_restart, Capability.RESUME),
    Scenario(
        "running job over supervisor restarts", jobs.running_job_over_supervisor_restarts, Capability.RESUME
    ),
    Scenario("result: exit code", jobs.result_exit_code),
    Scenario("result: signal", jobs.result_signal),
    Scenario("result: timeout", jobs.result_timeout),
    Scenario("delete", history.delete),
    Scenario("history after a restart", history.history_after_a_restart),
    Scenario("result: lost", history.lost),
    Scenario("stream 64 MiB over a broken connection", output.broken_connection, Capability.RESUME),
    Scenario("stream after a reader stall", output.reader_stall, Capability.RESUME),
    Scenario("stream over an API process restart", output.api_process_restart, Capability.RESUME),
    Scenario("stream over a supervisor restart", output.supervisor_restart, Capability.RESUME),
    Scenario("stream binary output", output.binary_output),
    Scenario("stream from an offset", output.from_offset),
    Scenario("stream tail: lines", output.tail_lines),
    Scenario("stream tail: bytes", output.tail_bytes),
    Scenario("stream one source", output.one_source),
    Scenario("stream interleaved sources", output.interleaved_sources),
    Scenario("stream without follow", output.without_follow),
    Scenario("stream truncated output", output.truncated_output),
    Scenario("cancel releases the reader", output.cancel_releases_reader),
    Scenario("attach: input", attachments.input_is_the_output),
    Scenario("attach: input over a broken connection", attachments.broken_connection, Capability.RESUME),
    Scenario("attach: terminal", attachments.terminal),
    Scenario("attach: redraw", attachments.redraw),
    Scenario("attach: signal", attachments.signal),
    Scenario("attach: detach and take over", attachments.detach_and_take_over),
    Scenario("error: unknown id", errors.unknown_id),
    Scenario("error: invalid arguments", errors.invalid_arguments),
    Scenario("error: options of a cluster", errors.options_of_a_cluster),
    Scenario("error: command not found", errors.command_not_found),
    Scenario("error: attach to a job without stdin", attachments.job_without_stdin),
    Scenario("error: update of an ended job", errors.update_of_ended_job),
    Scenario("error: delete of a running job", history.delete_of_running_job),
    Scenario("error: offset out of range", errors.offset_out_of_range),
    Scenario("error: viewer role", errors.viewer_role),
    Scenario("error: client certificate of another CA", errors.client_certificate_of_another_ca),
    Scenario("error: revoked certificate", errors.revoked_certificate, Capability.OWN_SCHEMA),
    Scenario("error: server certificate of another CA", errors.server_certificate_of_another_ca),
    Scenario("error: too many jobs", errors.too_many_jobs),
    Scenario("error: deadline", errors.deadline),
)
