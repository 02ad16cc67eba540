"""Driver for `jobworker_client.Client`."""

import asyncio
from collections.abc import AsyncIterator

import python_driver as driver
from jobworker_client import Client, Job, JobWorkerError


async def run(client: Client, operation: driver.Operation) -> dict[str, object]:
    """Run an operation and returns the response."""
    match operation["op"]:
        case "list":
            return await list_ids(client, operation)
        case "delete":
            await client.delete(operation["id"], deadline=operation.get("deadline"))
            return {"result": {}}
        case "stream":
            return await stream(client, operation)
        case "attach":
            return await attach(client, operation)
        case "watch":
            return await watch(client, operation)
    return driver.job_response(await run_on_job(client, operation))


async def run_on_job(client: Client, operation: driver.Operation) -> Job:
    """Run an operation that returns a job."""
    deadline = operation.get("deadline")
    match operation["op"]:
        case "create":
            return await client.create_from(driver.create_request(operation), deadline=deadline)
        case "get":
            return await client.get(operation["id"], deadline=deadline)
        case "update":
            return await client.update_from(driver.update_request(operation), deadline=deadline)
        case "stop":
            grace_period = operation.get("grace_period")
            return await client.stop(operation["id"], grace_period=grace_period, deadline=deadline)
        case "wait":
            return await client.wait(operation["id"], deadline=deadline)
    raise ValueError(f"unknown operation {operation['op']!r}")


async def list_ids(client: Client, operation: driver.Operation) -> dict[str, object]:
    """List the jobs that match."""
    page_size, deadline = operation.get("page_size", 500), operation.get("deadline")
    jobs = client.list(page_size=page_size, deadline=deadline, **driver.job_filter(operation))
    return {"result": {"ids": [job.id async for job in jobs]}}


async def stream(client: Client, operation: driver.Operation) -> dict[str, object]:
    """Read a stream to its end or to the limit."""
    digest, cancelled = driver.StreamDigest(operation), False
    options = driver.stream_options(operation)
    async with client.stream(operation["id"], deadline=operation.get("deadline"), **options) as output:
        async for chunk in output:
            if digest.add(chunk):
                cancelled = True
                break
    return digest.response(output.request.offset, output.truncated, None if cancelled else output.result)


async def attach(client: Client, operation: driver.Operation) -> dict[str, object]:
    """Attach to a job until its end or to the limit."""
    digest, detached = driver.StreamDigest(operation), False
    data, name, redraw = driver.input_data(operation), operation.get("signal"), operation.get("redraw")
    deadline, take_over = operation.get("deadline"), operation.get("take_over", False)

    async def source(data: bytes) -> AsyncIterator[bytes]:
        yield data
        if not operation.get("eof", True):
            await asyncio.Event().wait()

    stdin = None if data is None else source(data)
    async with client.attach(operation["id"], stdin, deadline=deadline, take_over=take_over) as output:
        if "size" in operation:
            output.resize(*operation["size"])
        async for chunk in output:
            if name:
                output.signal(name)
                name = None
            if redraw:
                output.resize(*redraw, redraw=True)
                redraw = None
            if digest.add(chunk):
                detached = True
                break
    return digest.response(output.request.offset, output.truncated, None if detached else output.result)


async def watch(client: Client, operation: driver.Operation) -> dict[str, object]:
    """Watch jobs until they have ended."""
    watched = driver.WatchedJobs(operation)
    async with client.watch(ids=operation["ids"]) as events:
        async for event in events:
            if watched.take(event):
                break
    return watched.response()


async def main() -> None:
    """Run the operations from stdin."""
    async with Client.from_env() as client:
        operations = driver.read_operations()
        # Reads in a thread so that the event loop keeps the connection alive between operations.
        while (operation := await asyncio.to_thread(next, operations, None)) is not None:
            try:
                driver.write_response(await run(client, operation))
            except JobWorkerError as error:
                driver.write_response(driver.error_response(error))


if __name__ == "__main__":
    asyncio.run(main())
