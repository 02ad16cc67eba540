"""Scenarios about input: exact, of a terminal, with signals, and from several clients."""

import random

from jobworker.v1 import job_pb2
from tests.interop.environment import Environment
from tests.interop.expected_error import expect_error
from tests.interop.proxy import Fault
from tests.interop.scenarios.output import MIB, sha256


def input_is_the_output(env: Environment) -> None:
    data = random.Random(10).randbytes(300_000)
    job = env.admin.create("cat", stdin=job_pb2.JOB_STDIN_ONCE)
    output = env.admin.attach(job.id, data)
    assert (output.bytes, output.sha256) == (len(data), sha256(data))
    assert output.job
    assert output.job.status == job_pb2.JOB_STATUS_COMPLETED


def broken_connection(env: Environment) -> None:
    """The connection breaks in the middle of a part of the input. No byte is lost or repeated."""
    data = random.Random(11).randbytes(4 * MIB)
    proxied = env.through_proxy(env.servers.default, Fault.RESET, after_bytes=MIB, counts_client=True)
    with proxied as (client, proxy):
        output = client.attach(client.create("cat", stdin=job_pb2.JOB_STDIN_ONCE).id, data)
        assert proxy.triggered.is_set()
        assert proxy.connections > 1
    assert (output.bytes, output.begin, output.end, list(output.truncated)) == (len(data), 0, len(data), [])
    assert output.sha256 == sha256(data)


def terminal(env: Environment) -> None:
    """The terminal gets the size of the client that types."""
    size = job_pb2.JobTerminal(columns=100, rows=30)
    job = env.admin.create("sh", "-c", 'read line; stty size; echo "got $line"', terminal=size)
    output = env.admin.attach(job.id, b"go\n", eof=False, size=(90, 20))
    assert output.sha256 == sha256(b"go\r\n20 90\r\ngot go\r\n")
    assert output.job
    last = output.job.terminal_resizes[-1]
    assert (last.columns, last.rows) == (90, 20)


def redraw(env: Environment) -> None:
    """A client lets the programs in a terminal draw again, although the size stays the same."""
    size = job_pb2.JobTerminal(columns=100, rows=30)
    script = "trap 'echo drawn; exit 3' WINCH; echo ready; while :; do sleep 0.05; done"
    job = env.admin.create("sh", "-c", script, terminal=size)
    output = env.admin.attach(job.id, b"", eof=False, size=(100, 30), redraw=(100, 30))
    assert output.sha256 == sha256(b"ready\r\ndrawn\r\n")
    assert output.job
    assert output.job.exit_code == 3


def signal(env: Environment) -> None:
    """A client without input sends a signal."""
    script = "trap 'echo got; exit 3' USR1; sleep 600 & echo ready; wait"
    output = env.admin.attach(env.admin.create("sh", "-c", script).id, signal="USR1")
    assert output.sha256 == sha256(b"ready\ngot\n")
    assert output.job
    assert output.job.exit_code == 3


def detach_and_take_over(env: Environment) -> None:
    """A client detaches, and another one continues the input of the job."""
    job_id = env.admin.create("cat", stdin=job_pb2.JOB_STDIN_OPEN).id
    first = env.admin.attach(job_id, b"one\n", eof=False, detach_after_bytes=4)
    assert (first.bytes, first.job) == (4, None)
    assert env.admin.get(job_id).status == job_pb2.JOB_STATUS_RUNNING
    with env.another_admin() as other:
        second = other.attach(job_id, b"two\n", take_over=True)
    assert second.sha256 == sha256(b"one\ntwo\n")
    assert second.job
    assert second.job.exit_code == 0


def job_without_stdin(env: Environment) -> None:
    job_id = env.admin.create("sleep", "600").id
    with expect_error("FAILED_PRECONDITION", "NO_STDIN"):
        env.admin.attach(job_id, b"", eof=False)
    env.admin.stop(job_id, grace_period=0)
