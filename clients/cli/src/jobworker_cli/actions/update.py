"""`jobworker update`: change the given limits and print the job."""

from jobworker.v1 import job_service_pb2
from jobworker_cli.output import Format
from jobworker_cli.render.error_messages import to_cli_error
from jobworker_cli.render.formats import print_job
from jobworker_cli.settings.connect import resolve_job_id
from jobworker_cli.settings.limit_options import LimitOptions, given_limits
from jobworker_client import Client, LimitUnavailable

__all__ = ["update_job"]


async def update_job(client: Client, ref: str, options: LimitOptions, output: Format) -> int:
    """Change the given limits and print the job.

    Raises:
        CliError: the host or the cluster cannot enforce a limit.
    """
    job_id = await resolve_job_id(client, ref)
    limits = given_limits(options)
    request = job_service_pb2.UpdateJobRequest(id=job_id, **limits)  # type: ignore[arg-type]  # see LimitOptions
    try:
        updated = await client.update_from(request)
    except LimitUnavailable as error:
        # `update` cannot change the policy, which the default hint names.
        hint = f"`jobworker get {job_id}` shows the limits of the job"
        raise to_cli_error(error, hint=hint) from error
    print_job(updated, output)
    return 0
