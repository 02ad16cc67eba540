"""`jobworker create`: the request that a command line stands for, and its job for people or programs."""

import uuid

from jobworker.v1 import job_pb2, job_service_pb2
from jobworker_cli.actions.limits import limits_of
from jobworker_cli.output import Format
from jobworker_cli.render.error_messages import to_cli_error
from jobworker_cli.render.formats import print_job
from jobworker_cli.settings.options import JobOptions, NetworkName, key_values, variables
from jobworker_client import Client, DeadlineExceeded, Job

__all__ = ["create", "create_job", "new_request"]


async def create_job(client: Client, request: job_service_pb2.CreateJobRequest, output: Format) -> int:
    """Creates the job and prints it."""
    print_job(await create(client, request), output)
    return 0


async def create(client: Client, request: job_service_pb2.CreateJobRequest) -> Job:
    """Creates the job; that the server did not answer in time does not mean that there is none."""
    try:
        return await client.create_from(request)
    except DeadlineExceeded as error:
        hint = f"with --request-id {request.request_id} a repeated call starts no second job"
        raise to_cli_error(error, hint=hint) from error


def new_request(command: list[str], options: JobOptions) -> job_service_pb2.CreateJobRequest:
    """Returns the request that the command line stands for, with an id that makes it safe to repeat."""
    request = job_service_pb2.CreateJobRequest(
        command=command[0],
        args=command[1:],
        working_directory=options.workdir,
        env=variables(options.env or ()),
        labels=key_values(options.label or (), "--label"),
        stop_signal=options.stop_signal,
        request_id=options.request_id or str(uuid.uuid4()),
        limits_policy=_policy(options.strict),
        network=_network(options.network),
        **limits_of(options),
    )
    if options.timeout is not None:
        request.timeout.FromTimedelta(options.timeout)
    if options.stop_grace_period is not None:
        request.stop_grace_period.FromTimedelta(options.stop_grace_period)
    return request


def _network(name: NetworkName | None) -> job_pb2.JobNetwork.ValueType:
    return job_pb2.JobNetwork.Value(f"JOB_NETWORK_{name.upper() if name else 'UNSPECIFIED'}")


def _policy(strict: bool | None) -> job_pb2.LimitsPolicy.ValueType:  # noqa: FBT001 - as the option has it
    if strict is None:
        return job_pb2.LIMITS_POLICY_UNSPECIFIED
    return job_pb2.LIMITS_POLICY_STRICT if strict else job_pb2.LIMITS_POLICY_BEST_EFFORT
