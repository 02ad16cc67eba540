import assert from "node:assert/strict";
import { after, test } from "node:test";
import { create } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { type Chunk, JobStatus } from "@jobworker/client";
import { CallContext } from "../src/core/call_context.js";
import { ResumableStream } from "../src/core/resumable_stream.js";
import { DEFAULT_RETRY_POLICY } from "../src/core/retry_policy.js";
import { GetJobsStreamRequestSchema } from "../src/gen/jobworker/v1/job_service_pb.js";
import { resolveConfig } from "../src/node/config.js";
import { TlsConnection } from "../src/node/connection.js";
import { output, RESULT, Scripts, textOf } from "./scripts.js";
import { Certificates, serverError } from "./server.js";

const certs = new Certificates();
after(() => certs[Symbol.dispose]());

function assertResumed(scripts: Scripts): void {
  const offsets = scripts.requests.map((request) => request.offset);
  assert.deepEqual(offsets, [0n, 4n, 8n]);
}

test("a stream resumes after a broken connection", async () => {
  const scripts = new Scripts(
    certs,
    [output(0, "one "), "hang"],
    [output(4, "two "), "hang"],
    [output(8, "three"), RESULT],
  );
  await using server = await scripts.start();
  using client = server.client();
  const text = await textOf(client.stream("1"), () => scripts.requests.length < 3 && server.disconnect());
  assert.equal(text, "one two three");
  assertResumed(scripts);
});

for (const reason of ["READER_STALLED", "SHUTTING_DOWN"]) {
  test(`a stream resumes after ${reason}`, async () => {
    const end = serverError(Code.Unavailable, reason);
    const scripts = new Scripts(
      certs,
      [output(0, "one "), end],
      [output(4, "two "), end],
      [output(8, "three"), RESULT],
    );
    await using server = await scripts.start();
    using client = server.client();
    const stream = client.stream("1");
    assert.equal(await textOf(stream), "one two three");
    assert.equal((await stream.result()).status, JobStatus.COMPLETED);
    assertResumed(scripts);
  });
}

test("a stream that ends without a result resumes", async () => {
  const scripts = new Scripts(certs, [output(0, "one ")], [output(4, "two"), RESULT]);
  await using server = await scripts.start();
  using client = server.client();
  assert.equal(await textOf(client.stream("1")), "one two");
});

test("a tail is requested until its offset is known", async () => {
  const unavailable = serverError(Code.Unavailable, "SUPERVISOR_UNAVAILABLE");
  const scripts = new Scripts(
    certs,
    [unavailable],
    [{ offset: 90n, kind: { case: "startOffset" as const, value: 90n } }, unavailable],
    [output(90, "tail"), unavailable],
    [RESULT],
  );
  await using server = await scripts.start();
  using client = server.client();
  assert.equal(await textOf(client.stream("1", { tailLines: 1 })), "tail");
  assert.deepEqual(
    scripts.requests.map(({ offset, tailLines }) => [offset, tailLines]),
    [
      [0n, 1n],
      [0n, 1n],
      [90n, undefined],
      [94n, undefined],
    ],
  );
});

test("a truncated range is a chunk, and the stream resumes after it", async () => {
  const truncated = { fromOffset: 0n, toOffset: 100n, reason: "the log is full" };
  const scripts = new Scripts(
    certs,
    [
      { offset: 0n, kind: { case: "truncated" as const, value: truncated } },
      serverError(Code.Unavailable, "SHUTTING_DOWN"),
    ],
    [output(100, "rest"), RESULT],
  );
  await using server = await scripts.start();
  using client = server.client();
  const chunks: Chunk[] = [];
  for await (const chunk of client.stream("1")) {
    chunks.push(chunk);
  }
  assert.deepEqual(chunks[0]?.truncated, { fromOffset: 0, toOffset: 100, reason: "the log is full" });
  assert.equal(chunks[0]?.data.length, 0);
  assert.equal(chunks[1]?.offset, 100);
  assert.equal(scripts.requests[1]?.offset, 100n);
});

test("an error that is not retryable ends the stream", async () => {
  const scripts = new Scripts(certs, [serverError(Code.NotFound, "JOB_NOT_FOUND")]);
  await using server = await scripts.start();
  using client = server.client();
  await assert.rejects(textOf(client.stream("1")), { code: "NOT_FOUND", reason: "JOB_NOT_FOUND" });
  assert.equal(scripts.requests.length, 1);
});

test("a stream fails after the resume timeout", async () => {
  const scripts = new Scripts(certs, [output(0, "one"), "hang"]);
  const server = await scripts.start();
  const connection = new TlsConnection(
    resolveConfig({ server: `127.0.0.1:${server.port}`, certs: certs.directory }),
  );
  const request = create(GetJobsStreamRequestSchema, { id: "1" });
  const open = connection.stub.getJobsStream;
  const stream = new ResumableStream(connection, request, open, {
    ...DEFAULT_RETRY_POLICY,
    connectTimeoutMs: 200,
    resumeTimeoutMs: 300,
  });
  using context = new CallContext([], undefined);
  const chunks = stream.chunks(context);
  try {
    await chunks.next();
  } finally {
    await server[Symbol.asyncDispose]();
  }
  await assert.rejects(chunks.next(), { code: "UNAVAILABLE", retryable: true });
  assert.equal(stream.offset, 3);
});
