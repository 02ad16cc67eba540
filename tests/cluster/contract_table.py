"""The contract tests of the API that do not apply to a gateway, each with its reason.

All other tests that use the shared server run against a gateway. Tests that start a server of their own
examine that server, not the API.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class LeftOut:
    """Tests whose ids start with a text, such as a file and a function, and why they do not apply."""

    tests: str
    reason: str


_IN_THE_RECORD = (
    "CreateJob of a gateway returns before a host executes the command, so the error is in the record: "
    "test_a_command_that_does_not_exist_is_in_the_record"
)
_STATUS_OF_CREATE = (
    "it expects a running job when CreateJob has returned; a gateway returns the job with status QUEUED"
)
_HOST = "it examines processes, files or settings of the host that serves the API"
_NO_LOGIN = "a gateway creates no logins for dashboards"
_FOUR_CORES = "each of its jobs needs four cores, which is a whole host of the test"
_LIMITS = "the host of the test enforces no limits, and a gateway learns of it only after CreateJob"

LEFT_OUT = (
    LeftOut("test_accounts.py", _HOST),
    LeftOut("test_attacks.py", _HOST),
    LeftOut("test_authorization.py::test_every_method_that_reflection_lists", "it counts NodeService"),
    LeftOut("test_cli.py::test_a_single_host_has_no_nodes", "it describes a single host"),
    LeftOut("test_cli.py::test_run_of_a_file_without_execute_permission", _IN_THE_RECORD),
    LeftOut("test_cli.py::test_run_of_an_unknown_command", _IN_THE_RECORD),
    LeftOut("test_cli.py::test_update_top_and_stats", "it expects the columns of a single host"),
    LeftOut("test_cli_terminal.py", _FOUR_CORES),
    LeftOut("test_cli_tmux.py", _FOUR_CORES),
    LeftOut("test_dashboard.py::test_the_session_names_the_user", "it describes a single host"),
    LeftOut("test_examples.py", "it builds programs; the same calls are in test_generic_clients.py"),
    LeftOut("test_files.py", _FOUR_CORES),
    LeftOut("test_go_stubs.py::test_an_unknown_command", _IN_THE_RECORD),
    LeftOut("test_go_stubs.py::test_the_kinds_of_messages", "it expects the messages of a single host"),
    LeftOut("test_hard_cases.py::test_sigstopped_job", _STATUS_OF_CREATE),
    LeftOut("test_hard_cases.py::test_stop_at_any_point", "it describes the start of a job on one host"),
    LeftOut("test_hard_cases.py::test_stop_during_a_start_that_fails", _IN_THE_RECORD),
    LeftOut("test_hard_cases.py::test_stop_racing_with_exit", "it describes the end of a job on one host"),
    LeftOut("test_hard_commands.py::test_argument_above_the_kernel_limit", "see test_long_argument"),
    LeftOut("test_hard_commands.py::test_command_that_cannot_be_executed", _IN_THE_RECORD),
    LeftOut("test_hard_commands.py::test_long_argument[131071]", "a request has at most 128 KiB"),
    LeftOut("test_hard_commands.py::test_missing_working_directory", _IN_THE_RECORD),
    LeftOut("test_hard_commands.py::test_name_without_a_slash", _IN_THE_RECORD),
    LeftOut("test_isolation.py", _HOST),
    LeftOut("test_jobs.py::test_command_that_cannot_be_executed", _IN_THE_RECORD),
    LeftOut("test_jobs.py::test_get_of_a_running_job", _STATUS_OF_CREATE),
    LeftOut("test_limit_updates.py", _STATUS_OF_CREATE),
    LeftOut("test_limits.py::test_strict_policy", _LIMITS),
    LeftOut("test_mounts.py::test_a_command_hidden", _IN_THE_RECORD),
    LeftOut("test_node_service.py", "a gateway has no NodeService, because it is not a node"),
    LeftOut("test_python_examples.py", _STATUS_OF_CREATE),
    LeftOut("test_server_life.py", _HOST),
    LeftOut("test_shared_dashboard.py", _NO_LOGIN),
    LeftOut("test_stdin.py::test_run_detached_prints_the_id", _STATUS_OF_CREATE),
    LeftOut("test_system_calls.py::test_the_system_calls_of_administrators", _HOST),
    LeftOut("test_troubleshooting.py", _HOST),
    LeftOut("test_typescript_client.py::test_create_wait_get_and_list", _STATUS_OF_CREATE),
    LeftOut("test_watch.py::test_a_failed_start", _IN_THE_RECORD),
)
