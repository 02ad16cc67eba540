"""Driver for `jobworker_client.SyncClient`."""

import threading
from collections.abc import Iterator

import python_driver as driver
from jobworker_client import Job, JobWorkerError, SyncClient


def run(client: SyncClient, operation: driver.Operation) -> dict[str, object]:
    """Run an operation and returns the response."""
    match operation["op"]:
        case "list":
            return list_ids(client, operation)
        case "delete":
            client.delete(operation["id"], deadline=operation.get("deadline"))
            return {"result": {}}
        case "stream":
            return stream(client, operation)
        case "attach":
            return attach(client, operation)
        case "watch":
            return watch(client, operation)
    return driver.job_response(run_on_job(client, operation))


def run_on_job(client: SyncClient, operation: driver.Operation) -> Job:
    """Run an operation that returns a job."""
    deadline = operation.get("deadline")
    match operation["op"]:
        case "create":
            return client.create_from(driver.create_request(operation), deadline=deadline)
        case "get":
            return client.get(operation["id"], deadline=deadline)
        case "update":
            return client.update_from(driver.update_request(operation), deadline=deadline)
        case "stop":
            grace_period = operation.get("grace_period")
            return client.stop(operation["id"], grace_period=grace_period, deadline=deadline)
        case "wait":
            return client.wait(operation["id"], deadline=deadline)
    raise ValueError(f"unknown operation {operation['op']!r}")


def list_ids(client: SyncClient, operation: driver.Operation) -> dict[str, object]:
    """List the jobs that match."""
    page_size, deadline = operation.get("page_size", 500), operation.get("deadline")
    jobs = client.list(page_size=page_size, deadline=deadline, **driver.job_filter(operation))
    return {"result": {"ids": [job.id for job in jobs]}}


def stream(client: SyncClient, operation: driver.Operation) -> dict[str, object]:
    """Read a stream to its end or to the limit."""
    digest, cancelled = driver.StreamDigest(operation), False
    options = driver.stream_options(operation)
    with client.stream(operation["id"], deadline=operation.get("deadline"), **options) as output:
        for chunk in output:
            if digest.add(chunk):
                cancelled = True
                break
    return digest.response(output.request.offset, output.truncated, None if cancelled else output.result)


def attach(client: SyncClient, operation: driver.Operation) -> dict[str, object]:
    """Attach to a job until its end or to the limit."""
    digest, detached = driver.StreamDigest(operation), False
    data, name, redraw = driver.input_data(operation), operation.get("signal"), operation.get("redraw")
    deadline, take_over = operation.get("deadline"), operation.get("take_over", False)
    ended = threading.Event()

    def source(data: bytes) -> Iterator[bytes]:
        yield data
        if not operation.get("eof", True):
            ended.wait()

    stdin = None if data is None else source(data)
    with client.attach(operation["id"], stdin, deadline=deadline, take_over=take_over) as output:
        if "size" in operation:
            output.resize(*operation["size"])
        for chunk in output:
            if name:
                output.signal(name)
                name = None
            if redraw:
                output.resize(*redraw, redraw=True)
                redraw = None
            if digest.add(chunk):
                detached = True
                break
    ended.set()
    return digest.response(output.request.offset, output.truncated, None if detached else output.result)


def watch(client: SyncClient, operation: driver.Operation) -> dict[str, object]:
    """Watch jobs until they have ended."""
    watched = driver.WatchedJobs(operation)
    with client.watch(ids=operation["ids"]) as events:
        for event in events:
            if watched.take(event):
                break
    return watched.response()


def main() -> None:
    """Run the operations from stdin."""
    with SyncClient.from_env() as client:
        for operation in driver.read_operations():
            try:
                driver.write_response(run(client, operation))
            except JobWorkerError as error:
                driver.write_response(driver.error_response(error))


if __name__ == "__main__":
    main()
