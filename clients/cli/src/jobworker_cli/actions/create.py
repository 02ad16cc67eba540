"""`jobworker create`: build the request, create the job and print it."""

import uuid
from datetime import timedelta

from jobworker.v1 import job_pb2, job_service_pb2
from jobworker_cli.output import Format
from jobworker_cli.render.error_messages import to_cli_error
from jobworker_cli.render.formats import print_job
from jobworker_cli.settings.limit_options import given_limits
from jobworker_cli.settings.options import JobOptions, NetworkName, environment_variables, key_values
from jobworker_client import Client, ClusterUnavailable, ConnectionLost, DeadlineExceeded, Job

__all__ = ["create", "create_and_print", "create_request"]

# The server accepts no longer time in the queue.
MAX_QUEUE_TIMEOUT = timedelta(days=365)


async def create_and_print(client: Client, request: job_service_pb2.CreateJobRequest, output: Format) -> int:
    """Create a job and print it."""
    print_job(await create(client, request), output)
    return 0


async def create(client: Client, request: job_service_pb2.CreateJobRequest) -> Job:
    """Create a job. An error has the request id if the job may exist nevertheless."""
    try:
        return await client.create_from(request)
    except (ClusterUnavailable, ConnectionLost, DeadlineExceeded) as error:
        hint = f"the job may have started; repeat the command with --request-id {request.request_id}"
        raise to_cli_error(error, hint=hint) from error


def create_request(command: list[str], options: JobOptions) -> job_service_pb2.CreateJobRequest:
    """Return the request for a command line, with a request id."""
    request = job_service_pb2.CreateJobRequest(
        command=command[0],
        args=command[1:],
        working_directory=options.workdir,
        env=environment_variables(options.env or ()),
        labels=key_values(options.label or (), "--label"),
        stop_signal=options.stop_signal,
        request_id=options.request_id or str(uuid.uuid4()),
        limits_policy=_policy(options.strict),
        network=_network(options.network),
        max_scratch=options.scratch or 0,
        priority=options.priority,
        queue=options.queue_name,
        node_selector=key_values(options.node_selector or (), "--node-selector"),
        retry_on_lost=options.retry_on_lost,
        **given_limits(options),  # type: ignore[arg-type]  # typer checks the types
    )
    if options.timeout is not None:
        request.timeout.FromTimedelta(options.timeout)
    if options.stop_grace_period is not None:
        request.stop_grace_period.FromTimedelta(options.stop_grace_period)
    if options.queue or options.queue_timeout is not None:
        longest = MAX_QUEUE_TIMEOUT if options.queue_timeout is None else options.queue_timeout
        request.queue_timeout.FromTimedelta(longest)
    return request


def _network(name: NetworkName | None) -> job_pb2.JobNetwork.ValueType:
    return job_pb2.JobNetwork.Value(f"JOB_NETWORK_{name.upper() if name else 'UNSPECIFIED'}")


def _policy(strict: bool | None) -> job_pb2.LimitsPolicy.ValueType:  # noqa: FBT001 - the value of the option
    if strict is None:
        return job_pb2.LIMITS_POLICY_UNSPECIFIED
    return job_pb2.LIMITS_POLICY_STRICT if strict else job_pb2.LIMITS_POLICY_BEST_EFFORT
