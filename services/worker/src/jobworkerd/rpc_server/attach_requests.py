"""Reads the messages of a client that calls AttachJob."""

import asyncio

from grpc import aio

from jobworker.v1 import job_attach_pb2, job_service_pb2
from jobworkerd.errors import InvalidRequest, JobWorkerError
from jobworkerd.rpc_server.rpc import Context

_START_SECONDS = 10.0

Request = job_service_pb2.AttachJobRequest


async def read_start(context: Context) -> job_attach_pb2.AttachStart:
    """Return the first message of a call.

    Raises:
        InvalidRequest: the client sends another message first, or none within 10 s.
    """
    try:
        async with asyncio.timeout(_START_SECONDS):
            message = await read_next(context)
    except TimeoutError:
        raise InvalidRequest(
            {"start": f"did not arrive within {_START_SECONDS:g} s; send it first"}
        ) from None
    if message is None or message.WhichOneof("kind") != "start":
        raise InvalidRequest({"start": "missing; send it as the first message"})
    return message.start


async def read_next(context: Context) -> Request | None:
    """Return the next message; None after the last one.

    Raises:
        JobWorkerError: the message is too long or cannot be parsed.
    """
    message = await context.read()
    if isinstance(message, JobWorkerError):
        raise message
    return None if message is aio.EOF else message
