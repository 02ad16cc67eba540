"""Check that the records and logs of ended jobs are the same after a stop and a start of the server."""

from google.protobuf import duration_pb2
from restarts import lasting_client

from jobworker.v1 import job_output_pb2, job_pb2
from live import Server

STDOUT = job_output_pb2.OUTPUT_SOURCE_STDOUT


async def test_jobs_are_the_same_after_a_stop_and_a_start(own_server: Server) -> None:
    binary = "head -c 300000 /dev/urandom; echo err >&2; exit 3"
    async with lasting_client(own_server) as admin:
        await admin.run("echo", "hello", labels={"kind": "greeting"})
        await admin.run("sh", "-c", binary)
        await admin.run("sh", "-c", "kill -SEGV $$")
        await admin.run("sleep", "1000", timeout=duration_pb2.Duration(nanos=10**8))
        stopped = await admin.create("sleep", "1000")
        await admin.stop(stopped.id)
        running = await admin.create(
            "sh", "-c", "trap 'echo last; exit 9' TERM; echo first; while :; do sleep 0.05; done"
        )
        await admin.wrote(running.id, b"first\n")
        before = {job.id: job for job in await admin.list()}
        outputs = {job: (await admin.stream(job)).bytes() for job in before if job != running.id}
    assert own_server.stop() == 0
    own_server.launch()
    async with lasting_client(own_server) as admin:
        after = {job.id: job for job in await admin.list()}
        assert list(after) == list(before)
        ended = after.pop(running.id)
        assert (ended.status, ended.exit_code) == (job_pb2.JOB_STATUS_STOPPED, 9)
        assert (await admin.stream(running.id)).bytes(STDOUT) == b"first\nlast\n"
        for job_id, job in after.items():
            assert job == before[job_id]
            assert await admin.get(job_id) == job
            assert await admin.ended(job_id) == job
            output = await admin.stream(job_id)
            assert (output.bytes(), output.result) == (outputs[job_id], job)
        greetings = await admin.list(labels={"kind": "greeting"})
        assert [job.args for job in greetings] == [["hello"]]
        new, _ = await admin.run("true")
        assert new.id > max(before)
