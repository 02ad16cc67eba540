"""Scenarios about a job's output: complete, partial, and over broken connections."""

import hashlib
import random
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from jobworker.v1 import job_pb2
from tests.interop.driver import StreamResult
from tests.interop.environment import Environment, wait_for_events
from tests.interop.proxy import Fault

MIB = 1 << 20
_WRITE = (
    "import random, sys\n"
    "noise = random.Random({seed})\n"
    "for _ in range({mib}): sys.stdout.buffer.write(noise.randbytes(1 << 20))"
)
_TWO_STREAMS = r"printf 'one\ntwo\nthree\n'; printf 'err\n' >&2"


def noise(seed: int, mib: int) -> tuple[list[str], str]:
    """Return a command that writes pseudo-random bytes, and their SHA-256."""
    source, digest = random.Random(seed), hashlib.sha256()
    for _ in range(mib):
        digest.update(source.randbytes(MIB))
    return ["python3", "-c", _WRITE.format(seed=seed, mib=mib)], digest.hexdigest()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def broken_connection(env: Environment) -> None:
    command, expected = noise(seed=5, mib=64)
    with env.through_proxy(env.servers.default, Fault.RESET, after_bytes=24 * MIB) as (client, proxy):
        output = client.stream(client.create(*command).id)
        assert proxy.triggered.is_set()
        assert proxy.connections > 1
    assert (output.bytes, output.begin, output.end, list(output.truncated)) == (64 * MIB, 0, 64 * MIB, [])
    assert output.sha256 == expected
    assert output.job
    assert output.job.status == job_pb2.JOB_STATUS_COMPLETED


def reader_stall(env: Environment) -> None:
    """The server cuts off a reader that stalls for a second. The client resumes."""
    command, expected = noise(seed=6, mib=12)
    server = env.servers.limited
    proxied = env.through_proxy(server, Fault.STALL, after_bytes=2 * MIB)
    # If the test fails, the proxy must stop before the pool, so that the stream and its thread end.
    with ThreadPoolExecutor() as pool, proxied as (client, proxy):
        job_id = client.create(*command).id
        output = pool.submit(client.stream, job_id)
        assert proxy.triggered.wait(timeout=30)
        wait_for_events(server, 1, "reader stalled", job_id=job_id)
        proxy.resume()
        assert output.result().sha256 == expected


def api_process_restart(env: Environment) -> None:
    """The server restarts an API process that is killed. The job keeps running."""
    script = 'echo before; until [ -e "$0/go" ]; do sleep 0.05; done; echo after'
    _, output = env.over_an_api_process_restart(script, "GetJobsStream", 1, env.limited.stream)
    assert output.sha256 == sha256(b"before\nafter\n")


def supervisor_restart(env: Environment) -> None:
    """The job writes while no supervisor runs, and the client gets each byte once."""
    script = 'echo before; until [ -e "$0/go" ]; do echo tick; sleep 0.02; done; echo after'
    job_id, output = env.over_a_supervisor_restart(script, "GetJobsStream", 1, env.limited.stream)
    assert output.job
    assert output.job.status == job_pb2.JOB_STATUS_COMPLETED
    lines = output.bytes - len("before\nafter\n")
    assert output.sha256 == sha256(b"before\n" + b"tick\n" * (lines // 5) + b"after\n")
    assert env.limited.stream(job_id).sha256 == output.sha256


def binary_output(env: Environment) -> None:
    command, expected = noise(seed=7, mib=4)
    output = env.viewer.stream(env.admin.create(*command).id)
    assert (output.bytes, output.sha256) == (4 * MIB, expected)


def from_offset(env: Environment) -> None:
    output = env.viewer.stream(finished_job(env, "printf 0123456789"), offset=4)
    assert (output.begin, output.end, output.sha256) == (4, 10, sha256(b"456789"))


def tail_lines(env: Environment) -> None:
    output = env.viewer.stream(finished_job(env, r"printf 'one\ntwo\nthree\n'"), tail_lines=2)
    assert (output.begin, output.end, output.sha256) == (4, 14, sha256(b"two\nthree\n"))


def tail_bytes(env: Environment) -> None:
    job_id = finished_job(env, "printf 0123456789")
    output = env.viewer.stream(job_id, tail_bytes=3)
    assert (output.begin, output.end, output.sha256) == (7, 10, sha256(b"789"))
    assert env.viewer.stream(job_id, tail_bytes=0).bytes == 0


def one_source(env: Environment) -> None:
    job_id = finished_job(env, _TWO_STREAMS)
    err = env.viewer.stream(job_id, source="stderr")
    assert (err.bytes, err.sha256) == (4, sha256(b"err\n"))
    out = env.viewer.stream(job_id, source="stdout", tail_lines=1)
    assert (out.bytes, out.sha256) == (6, sha256(b"three\n"))


def interleaved_sources(env: Environment) -> None:
    """Interleaved output is replayed in the log's order. A stream of one source skips the other."""
    script = "import os, time\nfor n in range(500): os.write(1 + n % 2, b'%d' % (n % 10)); time.sleep(.001)"
    job_id = env.admin.create("python3", "-c", script).id
    env.admin.wait(job_id)
    both = env.viewer.stream(job_id)
    assert env.servers.default.state
    log = env.servers.default.state / "state/jobs" / job_id / "output.log"
    assert (both.bytes, both.sha256) == (500, sha256(log.read_bytes()))
    odd = env.viewer.stream(job_id, source="stderr")
    assert (odd.bytes, odd.sha256) == (250, sha256(b"13579" * 50))


def without_follow(env: Environment) -> None:
    job_id = running_job(env, "echo so far; exec sleep 600")
    output = env.viewer.stream(job_id, follow=False)
    assert output.sha256 == sha256(b"so far\n")
    assert env.admin.get(job_id).status == job_pb2.JOB_STATUS_RUNNING
    env.admin.stop(job_id, grace_period=0)


def truncated_output(env: Environment) -> None:
    """The log keeps 16 MiB. A late reader gets the truncated range and then the rest."""
    command, _ = noise(seed=9, mib=20)
    job_id = env.limited.create(*command).id
    env.limited.wait(job_id)
    output = env.limited.stream(job_id)
    ((first, last),) = output.truncated
    assert (first, output.end, output.bytes) == (0, 20 * MIB, 20 * MIB - last)
    assert 0 < output.bytes <= 16 * MIB
    source = random.Random(9)
    assert output.sha256 == sha256(b"".join(source.randbytes(MIB) for _ in range(20))[last:])


def cancel_releases_reader(env: Environment) -> None:
    job_id = running_job(env, "while :; do echo more; sleep 0.1; done")
    output = env.viewer.stream(job_id, cancel_after_bytes=10)
    assert output.bytes >= 10
    assert output.job is None
    ended = {"status": "CANCELLED", "role": "Viewer", "job_id": job_id}
    wait_for_events(env.servers.default, 1, "rpc", "GetJobsStream", **ended)
    env.admin.stop(job_id, grace_period=0)


def finished_job(env: Environment, script: str) -> str:
    """Return the id of a job that has ended."""
    job_id = env.admin.create("sh", "-c", script).id
    env.admin.wait(job_id)
    return job_id


def running_job(env: Environment, script: str = "echo up; exec sleep 600", **fields: Any) -> str:
    """Return the id of a running job that has written output."""
    job_id = env.admin.create("sh", "-c", script, **fields).id
    first: StreamResult = env.admin.stream(job_id, cancel_after_bytes=1)
    assert first.bytes
    return job_id
