"""Checks the messages of AttachJob."""

from typing import NamedTuple

from jobworker.v1 import job_attach_pb2
from jobworkerd.protocol import input_messages
from jobworkerd.rpc_server import bounds, validation
from jobworkerd.rpc_server import field_checks as check
from jobworkerd.rpc_server.requests import StreamRequest
from jobworkerd.signals import signal_number


class AttachRequest(NamedTuple):
    """The validated first message of AttachJob. Without `input_id` the call sends no input."""

    stream: StreamRequest
    input_id: str
    take_over: bool
    size: tuple[int, int] | None
    redraw: bool


def attach(start: job_attach_pb2.AttachStart) -> AttachRequest:
    """Return the request that the first message of AttachJob describes.

    Raises:
        InvalidRequest: a value is not accepted.
        JobNotFound: no job can have this id.
    """
    validation.raise_violations(
        **{
            "start.offset": bounds.OFFSET.value_problem(start.offset),
            "start.tail_bytes": bounds.TAIL_BYTES.value_problem(start.tail_bytes),
            "start.input_id": check.request_id(start.input_id),
            "start.size": _size_problem(start.size) if start.HasField("size") else "",
        }
    )
    stream = StreamRequest(
        job_id=validation.job_id(start.id),
        offset=start.offset,
        tail_bytes=start.tail_bytes if start.HasField("tail_bytes") else None,
        mixed_sources=True,
    )
    size = (start.size.columns, start.size.rows) if start.HasField("size") else None
    return AttachRequest(stream, start.input_id, start.take_over, size, start.redraw)


def terminal_size(size: job_attach_pb2.TerminalSize) -> tuple[int, int]:
    """Return the columns and rows of a terminal.

    Raises:
        InvalidRequest: a number is not accepted.
    """
    validation.raise_violations(resize=_size_problem(size))
    return size.columns, size.rows


def _size_problem(size: job_attach_pb2.TerminalSize) -> str:
    problems = {
        "columns": bounds.TERMINAL_COLUMNS.value_problem(size.columns),
        "rows": bounds.TERMINAL_ROWS.value_problem(size.rows),
    }
    return next((f"{name}: {problem}" for name, problem in problems.items() if problem), "")


def input_chunk(chunk: job_attach_pb2.InputChunk, attachment: int) -> input_messages.FeedInput:
    """Return the message for a piece of the input.

    Raises:
        InvalidRequest: a value is not accepted.
    """
    validation.raise_violations(
        **{
            "input.offset": bounds.OFFSET.value_problem(chunk.offset),
            "input.data": bounds.INPUT_BYTES.size_problem(len(chunk.data)),
        }
    )
    return input_messages.FeedInput(attachment, chunk.offset, chunk.data)


def input_end(end: job_attach_pb2.InputEnd, attachment: int) -> input_messages.EndInput:
    """Return the message for the end of the input.

    Raises:
        InvalidRequest: the offset is negative.
    """
    validation.raise_violations(**{"eof.offset": bounds.OFFSET.value_problem(end.offset)})
    return input_messages.EndInput(attachment, end.offset)


def job_signal(signal: job_attach_pb2.JobSignal) -> int:
    """Return the number of a signal.

    Raises:
        InvalidRequest: no signal has this name or number.
    """
    problem = check.signal(signal.name) if signal.name else "empty; use a name such as SIGINT or a number"
    validation.raise_violations(**{"signal.name": problem})
    return signal_number(signal.name)
