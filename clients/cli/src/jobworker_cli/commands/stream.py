"""`jobworker stream`: a job's output, from its beginning to its end, as it is written."""

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from jobworker_cli.context import execute
from jobworker_cli.follow import Follower
from jobworker_cli.options import JobRef
from jobworker_cli.output import say
from jobworker_cli.results import exit_code, tell_ending
from jobworker_cli.signals import abandon, caught_signals, signal_before_end
from jobworker_cli.sink import open_sink

if TYPE_CHECKING:
    from jobworker_cli.client import Client

__all__ = ["stream"]


def stream(
    ctx: typer.Context,
    job: JobRef,
    *,
    offset: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="The first byte to show.")] = 0,
    follow: Annotated[
        bool, typer.Option("--follow/--no-follow", help="Go on until the job ends, or end at what is there.")
    ] = True,
) -> None:
    """Stream real-time job logs by ID.

    The job's stdout goes to stdout and its stderr to stderr, byte by byte. Exits with the job's exit
    code. Ctrl-C ends the stream and leaves the job running.
    """
    execute(ctx, lambda client: _stream(client, job, offset, follow=follow), failure=125)


async def _stream(client: "Client", ref: str, offset: int, *, follow: bool) -> int:
    job_id = await client.resolve(ref)
    with caught_signals() as pressed, open_sink() as sink:
        follower = Follower(client=client, job_id=job_id, write=sink.write, offset=offset, live=follow)
        work = asyncio.create_task(follower.run())
        number = await signal_before_end(work, pressed)
        if number is not None:
            await abandon(work)
            offset = follower.offset + sink.cut()
            say(
                f"jobworker: the job goes on; `jobworker stream --offset {offset} {job_id}` "
                f"takes up its output, `jobworker stop {job_id}` ends it"
            )
            return 128 + number
        job = work.result()
    tell_ending(job)
    return exit_code(job)
