"""Scenarios about a job's output: whole, in part, broken off."""

import hashlib
import random
from concurrent.futures import ThreadPoolExecutor

from jobworker.v1 import job_pb2
from live import seen_by_jobs
from tests.interop.driver import Streamed
from tests.interop.proxy import Fault
from tests.interop.stage import Stage, count_events, wait_for_events

MIB = 1 << 20
_WRITE = (
    "import random, sys\n"
    "noise = random.Random({seed})\n"
    "for _ in range({mib}): sys.stdout.buffer.write(noise.randbytes(1 << 20))"
)
_TWO_STREAMS = r"printf 'one\ntwo\nthree\n'; printf 'err\n' >&2"


def noise(seed: int, mib: int) -> tuple[list[str], str]:
    """Returns a command that writes so many MiB of noise, and the SHA-256 of it."""
    source, digest = random.Random(seed), hashlib.sha256()
    for _ in range(mib):
        digest.update(source.randbytes(MIB))
    return ["python3", "-c", _WRITE.format(seed=seed, mib=mib)], digest.hexdigest()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def follow_over_a_cut(stage: Stage) -> None:
    command, expected = noise(seed=5, mib=64)
    with stage.through_proxy(stage.servers.usual, Fault.RESET, after=24 * MIB) as (client, proxy):
        output = client.stream(client.create(*command).id)
        assert proxy.struck.is_set()
        assert proxy.connections > 1
    assert (output.bytes, output.begin, output.end, list(output.truncated)) == (64 * MIB, 0, 64 * MIB, [])
    assert output.sha256 == expected
    assert output.job
    assert output.job.status == job_pb2.JOB_STATUS_COMPLETED


def follow_over_a_stall(stage: Stage) -> None:
    """The server cuts a reader off that took nothing for a second; it goes on where it was."""
    command, expected = noise(seed=6, mib=12)
    server = stage.servers.small
    proxied = stage.through_proxy(server, Fault.STALL, after=2 * MIB)
    # The proxy goes first if anything fails: the stream ends then, and the thread with it.
    with ThreadPoolExecutor() as pool, proxied as (client, proxy):
        job_id = client.create(*command).id
        output = pool.submit(client.stream, job_id)
        assert proxy.struck.wait(timeout=30)
        wait_for_events(server, 1, "reader stalled", job_id=job_id)
        proxy.resume()
        assert output.result().sha256 == expected


def follow_over_a_restart(stage: Stage) -> None:
    """The server's API process is killed and started anew; the job does not notice."""
    server = stage.servers.small
    script = 'echo before; until [ -e "$0/go" ]; do sleep 0.05; done; echo after'
    with seen_by_jobs() as folder, ThreadPoolExecutor() as pool:
        job_id = stage.small.create("sh", "-c", script, str(folder)).id
        readers = count_events(server, "authorization", "GetJobsStream")
        output = pool.submit(stage.small.stream, job_id)
        wait_for_events(server, readers + 1, "authorization", "GetJobsStream")
        for process in server.api_processes():
            process.kill()
        wait_for_events(server, readers + 2, "authorization", "GetJobsStream")
        (folder / "go").touch()
        assert output.result().sha256 == sha256(b"before\nafter\n")


def follow_binary(stage: Stage) -> None:
    command, expected = noise(seed=7, mib=4)
    output = stage.viewer.stream(stage.admin.create(*command).id)
    assert (output.bytes, output.sha256) == (4 * MIB, expected)


def from_an_offset(stage: Stage) -> None:
    output = stage.viewer.stream(written(stage, "printf 0123456789"), offset=4)
    assert (output.begin, output.end, output.sha256) == (4, 10, sha256(b"456789"))


def tail_of_lines(stage: Stage) -> None:
    output = stage.viewer.stream(written(stage, r"printf 'one\ntwo\nthree\n'"), tail_lines=2)
    assert (output.begin, output.end, output.sha256) == (4, 14, sha256(b"two\nthree\n"))


def tail_of_bytes(stage: Stage) -> None:
    job_id = written(stage, "printf 0123456789")
    output = stage.viewer.stream(job_id, tail_bytes=3)
    assert (output.begin, output.end, output.sha256) == (7, 10, sha256(b"789"))
    assert stage.viewer.stream(job_id, tail_bytes=0).bytes == 0


def one_source(stage: Stage) -> None:
    job_id = written(stage, _TWO_STREAMS)
    err = stage.viewer.stream(job_id, source="stderr")
    assert (err.bytes, err.sha256) == (4, sha256(b"err\n"))
    out = stage.viewer.stream(job_id, source="stdout", tail_lines=1)
    assert (out.bytes, out.sha256) == (6, sha256(b"three\n"))


def both_sources_by_turns(stage: Stage) -> None:
    """Bytes of both streams by turns are replayed as the log has them; of one stream, without the other's."""
    script = "import os, time\nfor n in range(500): os.write(1 + n % 2, b'%d' % (n % 10)); time.sleep(.001)"
    job_id = stage.admin.create("python3", "-c", script).id
    stage.admin.wait(job_id)
    both = stage.viewer.stream(job_id)
    assert stage.servers.usual.state
    log = stage.servers.usual.state / "state/jobs" / job_id / "output.log"
    assert (both.bytes, both.sha256) == (500, sha256(log.read_bytes()))
    odd = stage.viewer.stream(job_id, source="stderr")
    assert (odd.bytes, odd.sha256) == (250, sha256(b"13579" * 50))


def without_following(stage: Stage) -> None:
    job_id = started(stage, "echo so far; exec sleep 600")
    output = stage.viewer.stream(job_id, follow=False)
    assert output.sha256 == sha256(b"so far\n")
    assert stage.admin.get(job_id).status == job_pb2.JOB_STATUS_RUNNING
    stage.admin.stop(job_id, grace_period=0)


def truncated(stage: Stage) -> None:
    """The log keeps 16 MiB: a reader that comes late is told what is missing, and gets the rest."""
    command, _ = noise(seed=9, mib=20)
    job_id = stage.small.create(*command).id
    stage.small.wait(job_id)
    output = stage.small.stream(job_id)
    ((first, last),) = output.truncated
    assert (first, output.end, output.bytes) == (0, 20 * MIB, 20 * MIB - last)
    assert 0 < output.bytes <= 16 * MIB
    source = random.Random(9)
    assert output.sha256 == sha256(b"".join(source.randbytes(MIB) for _ in range(20))[last:])


def cancel_frees_the_reader(stage: Stage) -> None:
    job_id = started(stage, "while :; do echo more; sleep 0.1; done")
    output = stage.viewer.stream(job_id, cancel_after_bytes=10)
    assert output.bytes >= 10
    assert output.job is None
    ended = {"status": "CANCELLED", "role": "Viewer", "job_id": job_id}
    wait_for_events(stage.servers.usual, 1, "rpc", "GetJobsStream", **ended)
    stage.admin.stop(job_id, grace_period=0)


def written(stage: Stage, script: str) -> str:
    """Returns the id of a job that has written its output and ended."""
    job_id = stage.admin.create("sh", "-c", script).id
    stage.admin.wait(job_id)
    return job_id


def started(stage: Stage, script: str) -> str:
    """Returns the id of a job that runs and has written something."""
    job_id = stage.admin.create("sh", "-c", script).id
    first: Streamed = stage.admin.stream(job_id, cancel_after_bytes=1)
    assert first.bytes
    return job_id
