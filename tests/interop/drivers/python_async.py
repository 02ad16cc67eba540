"""Does what stdin asks for with `jobworker_client.Client`: a driver of tests/interop."""

import asyncio

from jobworker_client import Client, JobWorkerError
from python_driver import Ask, Tally, answer, asked, create_request, job_filter, part, refused, result


async def do(client: Client, ask: Ask) -> dict[str, object]:
    """Returns the answer to a request."""
    deadline = ask.get("deadline")
    match ask["op"]:
        case "create":
            return result(await client.create_from(create_request(ask), deadline=deadline))
        case "get":
            return result(await client.get(ask["id"], deadline=deadline))
        case "list":
            jobs = client.list(page_size=ask.get("page_size", 500), deadline=deadline, **job_filter(ask))
            return {"result": {"ids": [job.id async for job in jobs]}}
        case "stop":
            grace_period = ask.get("grace_period")
            return result(await client.stop(ask["id"], grace_period=grace_period, deadline=deadline))
        case "wait":
            return result(await client.wait(ask["id"], deadline=deadline))
        case "stream":
            return await stream(client, ask)
    raise ValueError(f"there is no op {ask['op']!r}")


async def stream(client: Client, ask: Ask) -> dict[str, object]:
    """Reads a stream, to its end or until it is enough."""
    tally, cancelled = Tally(ask), False
    async with client.stream(ask["id"], deadline=ask.get("deadline"), **part(ask)) as output:
        async for chunk in output:
            if tally.add(chunk):
                cancelled = True
                break
    return tally.answer(output.request.offset, output.truncated, None if cancelled else output.result)


async def main() -> None:
    """Answers one request after the other."""
    async with Client.from_env() as client:
        requests = asked()
        # The connection is kept up while there is nothing to do.
        while (ask := await asyncio.to_thread(next, requests, None)) is not None:
            try:
                answer(await do(client, ask))
            except JobWorkerError as error:
                answer(refused(error))


if __name__ == "__main__":
    asyncio.run(main())
