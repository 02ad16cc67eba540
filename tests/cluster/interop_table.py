"""The interop scenarios that do not apply to a gateway, each with its reason. All others run against one."""

_IN_THE_RECORD = "CreateJob of a gateway returns before a host starts the job; test_jobs.py has the errors"
_ONE_AT_A_TIME = "it needs a server that runs one job at a time; test_placement.py has the queue of a cluster"
_HOST = "it examines or kills a server that runs jobs, which a client of a cluster does not see"
_NO_RAISE = "UpdateJob of a gateway cannot raise the memory above what CreateJob requested"
_SETTINGS = "it needs a server with other settings for logs"
_TLS = "a gateway serves TLS with the code of a single host, and each client retries for seconds"

LEFT_OUT = {
    "create with limits, env, labels": "it expects the limits that CreateJob applied; no host has by then",
    "update limits": _NO_RAISE,
    "wait in the queue": _ONE_AT_A_TIME,
    "ends of jobs that never ran": _ONE_AT_A_TIME,
    "watch over a supervisor restart": _HOST,
    "wait over a supervisor restart": _HOST,
    "calls during a supervisor restart": _HOST,
    "running job over supervisor restarts": _HOST,
    "result: lost": _HOST,
    "stream after a reader stall": _SETTINGS,
    "stream over a supervisor restart": _HOST,
    "stream interleaved sources": _HOST,
    "stream truncated output": _SETTINGS,
    "error: options of a cluster": "a gateway accepts these options",
    "error: command not found": _IN_THE_RECORD,
    "error: client certificate of another CA": _TLS,
    "error: server certificate of another CA": _TLS,
    "error: too many jobs": _ONE_AT_A_TIME,
}
"""The names of scenarios, with the reasons."""
