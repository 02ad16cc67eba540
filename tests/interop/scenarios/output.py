"""Scenarios about a job's output: whole, in part, broken off."""

import hashlib
import random
import sys

from jobworker.v1 import job_pb2
from tests.interop.driver import Streamed
from tests.interop.stage import Stage

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
    return [sys.executable, "-c", _WRITE.format(seed=seed, mib=mib)], digest.hexdigest()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def follow_over_a_cut(stage: Stage) -> None:
    command, expected = noise(seed=5, mib=64)
    with stage.through_proxy(cut_after=24 * MIB) as (client, proxy):
        output = client.stream(client.create(*command).id)
    assert (output.bytes, output.begin, output.end, list(output.truncated)) == (64 * MIB, 0, 64 * MIB, [])
    assert output.sha256 == expected
    assert output.job
    assert output.job.status == job_pb2.JOB_STATUS_COMPLETED
    assert proxy.cuts == 1
    assert proxy.connections > 1


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


def without_following(stage: Stage) -> None:
    job_id = started(stage, "echo so far; exec sleep 600")
    output = stage.viewer.stream(job_id, follow=False)
    assert output.sha256 == sha256(b"so far\n")
    assert stage.admin.get(job_id).status == job_pb2.JOB_STATUS_RUNNING
    stage.admin.stop(job_id, grace_period=0)


def truncated(stage: Stage) -> None:
    """The log keeps 64 KiB: a reader that comes late is told what is missing, and gets the rest."""
    command, _ = noise(seed=9, mib=1)
    job_id = stage.small.create(*command).id
    stage.small.wait(job_id)
    output = stage.small.stream(job_id)
    ((first, last),) = output.truncated
    assert (first, output.end, output.bytes) == (0, MIB, MIB - last)
    assert 0 < output.bytes < MIB
    assert output.sha256 == sha256(random.Random(9).randbytes(MIB)[last:])


def cancel_frees_the_reader(stage: Stage) -> None:
    job_id = started(stage, "while :; do echo more; sleep 0.1; done")
    output = stage.viewer.stream(job_id, cancel_after_bytes=10)
    assert output.bytes >= 10
    assert output.job is None
    stage.wait_for_rpcs("GetJobsStream", 1, status="CANCELLED", role="Viewer", job_id=job_id)
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
