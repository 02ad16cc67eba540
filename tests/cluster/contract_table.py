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
_STATUS_OF_CREATE = "it prints the status that CreateJob returns, which is QUEUED at a gateway"
_PROCESSES = "it examines the processes or files of the server that serves the API; a gateway runs no jobs"
_HERE = "its job connects to a server or socket of the test, which a host of the cluster does not reach"
_OTHER_SERVER = "it starts another server, or needs a port without one"
_EXAMPLE = "test_python_examples.py::test_docstring_example_prints_its_output"
_LIMITS = "CreateJob of a gateway returns before a host refuses limits, so the refusal is in the record"

LEFT_OUT = (
    LeftOut("test_attacks.py::test_a_job_reaches_no_process_of_the_host", _PROCESSES),
    LeftOut("test_attacks.py::test_a_job_without_a_network", _HERE),
    LeftOut("test_cli.py::test_a_single_host_has_no_nodes", "a gateway has nodes, and accepts the options"),
    LeftOut("test_cli.py::test_run_of_a_file_without_execute_permission", _IN_THE_RECORD),
    LeftOut("test_cli.py::test_run_of_an_unknown_command", _IN_THE_RECORD),
    LeftOut("test_dashboard.py::test_the_session_names_the_user", "the session says that it is a gateway"),
    LeftOut("test_examples.py", "it builds programs for long; the same calls are in test_generic_clients.py"),
    LeftOut("test_go_stubs.py::test_an_unknown_command", _IN_THE_RECORD),
    LeftOut(
        "test_go_stubs.py::test_the_kinds_of_messages",
        "it prints the limits that CreateJob returns; at a gateway, no host has applied any by then",
    ),
    LeftOut("test_hard_cases.py::test_stop_during_a_start_that_fails", _IN_THE_RECORD),
    LeftOut("test_hard_commands.py::test_command_that_cannot_be_executed", _IN_THE_RECORD),
    LeftOut("test_hard_commands.py::test_long_argument[131071]", "a request has at most 128 KiB"),
    LeftOut("test_hard_commands.py::test_missing_working_directory", _IN_THE_RECORD),
    LeftOut("test_hard_commands.py::test_name_without_a_slash", _IN_THE_RECORD),
    LeftOut("test_isolation.py::test_a_job_cannot_read_keys_or_logs", _PROCESSES),
    LeftOut("test_isolation.py::test_a_job_sees_and_signals_only", _PROCESSES),
    LeftOut("test_isolation.py::test_a_job_without_a_network", _HERE),
    LeftOut("test_isolation.py::test_each_job_has_a_user", "the hosts of the test have other ranges of UIDs"),
    LeftOut("test_isolation.py::test_the_kernel_kills_and_preempts_jobs", _PROCESSES),
    LeftOut(
        "test_isolation.py::test_the_record_reports_the_isolation",
        "the hosts of the test have writable paths",
    ),
    LeftOut("test_isolation.py::test_users_and_processes_are_released", _PROCESSES),
    LeftOut("test_jobs.py::test_command_that_cannot_be_executed", _IN_THE_RECORD),
    LeftOut("test_limits.py::test_strict_policy", _LIMITS),
    LeftOut("test_mounts.py::test_a_command_hidden", _IN_THE_RECORD),
    LeftOut("test_node_service.py", "a gateway has no NodeService, because it is not a node"),
    LeftOut(f"{_EXAMPLE}[Client.create]", _STATUS_OF_CREATE),
    LeftOut(f"{_EXAMPLE}[SyncClient.create]", _STATUS_OF_CREATE),
    LeftOut("test_server_life.py::test_busy_jobs_do_not_starve_the_server", _PROCESSES),
    LeftOut("test_troubleshooting.py::test_a_port_that_is_closed", _OTHER_SERVER),
    LeftOut("test_troubleshooting.py::test_a_server_whose_certificate_expired", _OTHER_SERVER),
    LeftOut("test_troubleshooting.py::test_a_server_with_another_name", _OTHER_SERVER),
    LeftOut("test_watch.py::test_a_failed_start", _IN_THE_RECORD),
)
