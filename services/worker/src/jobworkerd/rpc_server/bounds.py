"""The bounds of all request fields: one table for validation and for docs/api.md.

The comments in proto/ and the help of the `jobworker` command state these bounds, too.
tests/unit/api/test_bounds.py compares them with this table.
"""

from collections.abc import Mapping
from types import MappingProxyType

from jobworkerd import job_id
from jobworkerd.cores import MAX_CORE
from jobworkerd.limit_bounds import LIMIT_BOUNDS, MAX_INT64, MAX_LABELS, MAX_SCRATCH, Bound

MAX_REQUEST_BYTES = 512 * 1024
DEFAULT_PAGE_SIZE = 50

MAX_PAGE_BYTES = 3 * 1024 * 1024
"""A page ends before this size, so that it fits into the 4 MiB that a gRPC client accepts by default."""

_MAX_PATH_BYTES = 4_096  # PATH_MAX of linux/limits.h

PATH = Bound(1, _MAX_PATH_BYTES, "bytes")
DIRECTORY = Bound(1, _MAX_PATH_BYTES, "bytes", unset="the job's private directory")
ARGS = Bound(0, 16_384, "arguments")
ARG = Bound(0, 131_071, "bytes", part="each argument")  # MAX_ARG_STRLEN of execve(2) without its NUL
ENV = Bound(0, 1_024, "variables")
ENV_BYTES = Bound(0, 262_144, "bytes of names and values")
# The longest google.protobuf.Duration.
TIMEOUT = Bound(0, 315_576_000_000, "s", unset="no timeout; 0 is not accepted")
SCRATCH = Bound(1, MAX_SCRATCH, "MiB", zero="the server's default")
PRIORITY = Bound(-100, 100)
QUEUE_TIMEOUT = Bound(0, 31_536_000, "s", unset="the job does not wait; 0 is not accepted")
LABELS = Bound(0, MAX_LABELS, "labels")
LABEL_KEY = Bound(1, 63, "characters", part="each key")
LABEL_VALUE = Bound(0, 256, "bytes", part="each value")
NODE_SELECTOR = Bound(0, 64, "labels", unset="any node")
NODE_LABEL_VALUE = Bound(0, 63, "characters", part="each value")
GRACE_PERIOD = Bound(0, 86_400, "s", unset="the server's default")
STOP_GRACE_PERIOD = Bound(0, 86_400, "s", unset="the job's `stop_grace_period`")
WAIT_TIMEOUT = Bound(0, 86_400, "s", unset="86400 s")
REQUEST_ID = Bound(0, 128, "printable ASCII characters", unset="each call starts a job")
CORES = Bound(0, MAX_CORE, part="each core number", unset="all cores of the server's jobs")
PAGE_SIZE = Bound(1, 1_000, "jobs", zero=f"{DEFAULT_PAGE_SIZE} jobs")
# The supervisor reads a dozen files per job with `live_usage`, and serves no other request meanwhile.
LIVE_PAGE_SIZE = Bound(1, 100, "jobs", part="with `live_usage`", zero=f"{DEFAULT_PAGE_SIZE} jobs")
ID_PREFIX = Bound(0, job_id.LENGTH, "characters", unset="any id")
SUBJECT = Bound(1, 4_096, "bytes")
"""The subject of a client certificate, and each field that has one."""

OWNER = Bound(0, SUBJECT.maximum, "bytes", unset="any owner")
SNAPSHOT_PAGE_SIZE = 100
"""Jobs that the supervisor reads at once for the snapshot of a watch."""

WATCHED_IDS = Bound(0, 1_000, "ids", unset="any id")
MAX_FINAL_JOBS = Bound(0, MAX_INT64, "jobs", unset="all jobs")
COMMAND_CONTAINS = Bound(0, 1_024, "characters", unset="any command")
OFFSET = Bound(0, MAX_INT64, "bytes")
TAIL_LINES = Bound(0, MAX_INT64, "lines", unset="not used")
TAIL_BYTES = Bound(0, MAX_INT64, "bytes", unset="not used")
INPUT_ID = Bound(0, 128, "printable ASCII characters", unset="no input")
TERMINAL_COLUMNS = Bound(1, 65_535, "characters")
TERMINAL_ROWS = Bound(1, 65_535, "lines")
INITIAL_COLUMNS = Bound(1, 65_535, "characters", zero="80")
INITIAL_ROWS = Bound(1, 65_535, "lines", zero="24")
TERM = Bound(0, 64, "printable ASCII characters", unset="`xterm-256color`")
INPUT_BYTES = Bound(0, 64 * 1024, "bytes")

_LIMITS: Mapping[str, tuple[Bound, ...]] = MappingProxyType(
    {name: (bound,) for name, bound in LIMIT_BOUNDS.items()} | {"cpu_set": (CORES,)}
)

_FILTERS: Mapping[str, tuple[Bound, ...]] = MappingProxyType(
    {"id_prefix": (ID_PREFIX,), "owner": (OWNER,), "command_contains": (COMMAND_CONTAINS,)}
)

REQUEST_BOUNDS: Mapping[str, Mapping[str, tuple[Bound, ...]]] = MappingProxyType(
    {
        "CreateJobRequest": {
            "command": (PATH,),
            "args": (ARGS, ARG),
            "working_directory": (DIRECTORY,),
            "env": (ENV, ENV_BYTES),
            "timeout": (TIMEOUT,),
            "labels": (LABELS, LABEL_KEY, LABEL_VALUE),
            "stop_grace_period": (GRACE_PERIOD,),
            "request_id": (REQUEST_ID,),
            "max_scratch": (SCRATCH,),
            "priority": (PRIORITY,),
            "queue_timeout": (QUEUE_TIMEOUT,),
            "node_selector": (NODE_SELECTOR, NODE_LABEL_VALUE),
            **_LIMITS,
        },
        "UpdateJobRequest": _LIMITS,
        "ListJobsRequest": {"page_size": (PAGE_SIZE, LIVE_PAGE_SIZE), **_FILTERS},
        "WatchJobsRequest": {**_FILTERS, "ids": (WATCHED_IDS,), "max_final_jobs": (MAX_FINAL_JOBS,)},
        "StopJobRequest": {"grace_period": (STOP_GRACE_PERIOD,)},
        "WaitJobRequest": {"timeout": (WAIT_TIMEOUT,)},
        "AttachStart": {
            "offset": (OFFSET,),
            "tail_bytes": (TAIL_BYTES,),
            "input_id": (INPUT_ID,),
        },
        "JobTerminal": {"columns": (INITIAL_COLUMNS,), "rows": (INITIAL_ROWS,), "term": (TERM,)},
        "TerminalSize": {"columns": (TERMINAL_COLUMNS,), "rows": (TERMINAL_ROWS,)},
        "InputChunk": {"offset": (OFFSET,), "data": (INPUT_BYTES,)},
        "InputEnd": {"offset": (OFFSET,)},
        "GetJobsStreamRequest": {
            "offset": (OFFSET,),
            "tail_lines": (TAIL_LINES,),
            "tail_bytes": (TAIL_BYTES,),
        },
    }
)
"""The bounds of each field, by request and field name."""
