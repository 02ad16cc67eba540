"""Does what stdin asks for with `jobworker_client.SyncClient`: a driver of tests/interop."""

from jobworker_client import JobWorkerError, SyncClient
from python_driver import Ask, Tally, answer, asked, create_request, job_filter, part, refused, result


def do(client: SyncClient, ask: Ask) -> dict[str, object]:
    """Returns the answer to a request."""
    deadline = ask.get("deadline")
    match ask["op"]:
        case "create":
            return result(client.create_from(create_request(ask), deadline=deadline))
        case "get":
            return result(client.get(ask["id"], deadline=deadline))
        case "list":
            jobs = client.list(page_size=ask.get("page_size", 500), deadline=deadline, **job_filter(ask))
            return {"result": {"ids": [job.id for job in jobs]}}
        case "stop":
            grace_period = ask.get("grace_period")
            return result(client.stop(ask["id"], grace_period=grace_period, deadline=deadline))
        case "wait":
            return result(client.wait(ask["id"], deadline=deadline))
        case "stream":
            return stream(client, ask)
    raise ValueError(f"there is no op {ask['op']!r}")


def stream(client: SyncClient, ask: Ask) -> dict[str, object]:
    """Reads a stream, to its end or until it is enough."""
    tally, cancelled = Tally(ask), False
    with client.stream(ask["id"], deadline=ask.get("deadline"), **part(ask)) as output:
        for chunk in output:
            if tally.add(chunk):
                cancelled = True
                break
    return tally.answer(output.request.offset, output.truncated, None if cancelled else output.result)


def main() -> None:
    """Answers one request after the other."""
    with SyncClient.from_env() as client:
        for ask in asked():
            try:
                answer(do(client, ask))
            except JobWorkerError as error:
                answer(refused(error))


if __name__ == "__main__":
    main()
