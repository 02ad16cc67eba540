"""A job's specification and records of it, for tests that do not depend on its fields."""

from msgspec.structs import replace

from jobworkerd.model import Job, JobSpec, JobStatus, Limits, LimitsPolicy

SPEC = JobSpec(
    command="true",
    limits=Limits(max_cpu=10, max_memory=1, max_io_bps=0, max_pids=0),
    limits_policy=LimitsPolicy.BEST_EFFORT,
    stop_signal=15,
    stop_grace_period=1.0,
    owner="CN=alice",
)
RUNNING = Job(id="a", spec=SPEC, status=JobStatus.RUNNING, create_time_ns=1, log_size=3)
FINAL = replace(RUNNING, status=JobStatus.COMPLETED, exit_code=0, log_size=9)
