import assert from "node:assert/strict";
import { after, test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { Code } from "@connectrpc/connect";
import type { Chunk } from "@jobworker/client";
import { OutputSource } from "../src/gen/jobworker/v1/job_output_pb.js";
import type { GetJobsStreamRequest } from "../src/gen/jobworker/v1/job_service_pb.js";
import { type Message, output, RESULT, Scripts, textOf } from "./scripts.js";
import { Certificates, serverError, TestServer } from "./server.js";

const certs = new Certificates();
after(() => certs[Symbol.dispose]());

test("a chunk has data, offset, source and time, and the result follows the chunks", async () => {
  const scripts = new Scripts(certs, [output(0, "out"), output(3, "err", OutputSource.STDERR), RESULT]);
  await using server = await scripts.start();
  using client = server.client();
  const stream = client.stream("1");
  const chunks: Chunk[] = [];
  for await (const chunk of stream) {
    chunks.push({ ...chunk, data: Buffer.from(chunk.data) } as Chunk);
  }
  assert.deepEqual(chunks, [
    { data: Buffer.from("out"), offset: 0, source: "stdout", time: new Date(5000) },
    { data: Buffer.from("err"), offset: 3, source: "stderr", time: new Date(5000) },
  ]);
  assert.equal((await stream.result()).exitCode, 0);
  assert.equal(stream.offset, 6);
});

test("a mixed message is split by source and time", async () => {
  const mixed: Message = {
    ...output(2, "outerr more"),
    spanBytes: [8, 3],
    spanOffsetUsec: [0n, 1_000_000n],
    sourceRunBytes: [3, 3, 5],
  };
  const scripts = new Scripts(
    certs,
    [output(0, "ab"), mixed, serverError(Code.Unavailable, "READER_STALLED")],
    [output(13, "!"), RESULT],
  );
  await using server = await scripts.start();
  using client = server.client();
  const stream = client.stream("1");
  const received: unknown[] = [];
  for await (const chunk of stream) {
    assert.equal(stream.offset, chunk.offset + chunk.data.length);
    received.push([chunk.offset, Buffer.from(chunk.data).toString(), chunk.source, chunk.time?.getTime()]);
  }
  assert.deepEqual(received, [
    [0, "ab", "stdout", 5000],
    [2, "out", "stdout", 5000],
    [5, "err", "stderr", 5000],
    [8, " m", "stdout", 5000],
    [10, "ore", "stdout", 6000],
    [13, "!", "stdout", 5000],
  ]);
  assert.deepEqual(
    scripts.requests.map((request) => [request.offset, request.mixedSources]),
    [
      [0n, true],
      [13n, true],
    ],
  );
});

test("a message of one source can skip the other", async () => {
  const skipping: Message = { ...output(2, "out more"), sourceRunBytes: [3, 3, 5] };
  const scripts = new Scripts(certs, [skipping, output(15, "!"), RESULT]);
  await using server = await scripts.start();
  using client = server.client();
  const received: unknown[] = [];
  for await (const chunk of client.stream("1", { source: "stdout" })) {
    received.push([chunk.offset, Buffer.from(chunk.data).toString(), chunk.source]);
  }
  assert.deepEqual(received, [
    [2, "out", "stdout"],
    [8, " more", "stdout"],
    [15, "!", "stdout"],
  ]);
});

test("the options are sent in the request", async () => {
  const scripts = new Scripts(certs, [RESULT]);
  await using server = await scripts.start();
  using client = server.client();
  const since = new Date(7000);
  await client
    .stream("1", { offset: 3, tailLines: 4, tailBytes: 5n, since, source: "stderr", follow: false })
    .result();
  const {
    offset,
    tailLines,
    tailBytes,
    since: time,
    source,
    follow,
  } = scripts.requests[0] as GetJobsStreamRequest;
  assert.deepEqual([offset, tailLines, tailBytes, time?.seconds], [3n, 4n, 5n, 7n]);
  assert.deepEqual([source, follow], [OutputSource.STDERR, false]);
});

test("the flow-control window is larger than HTTP/2's default of 64 KiB", { timeout: 20_000 }, async () => {
  const scripts = new Scripts(certs, [output(0, "one"), "hang"]);
  await using server = await scripts.start();
  using client = server.client();
  for await (const _ of client.stream("1")) {
    while ((server.session?.state.remoteWindowSize ?? 0) < 1024 * 1024) {
      await setImmediate();
    }
    break;
  }
});

for (const [name, offset] of [
  ["repeats output", 2],
  ["skips output", 5],
] as const) {
  test(`a message that ${name} is an error`, async () => {
    const scripts = new Scripts(certs, [output(0, "one"), output(offset, "two"), RESULT]);
    await using server = await scripts.start();
    using client = server.client();
    await assert.rejects(textOf(client.stream("1")), {
      name: "JobWorkerError",
      code: "DATA_LOSS",
      message: `the server sent output at offset ${offset}; expected offset 3`,
    });
  });
}

test("a stream of one source can skip output between messages", async () => {
  const scripts = new Scripts(certs, [output(0, "one "), output(70, "two"), RESULT]);
  await using server = await scripts.start();
  using client = server.client();
  assert.equal(await textOf(client.stream("1", { source: "stdout" })), "one two");
});

test("leaving the loop ends the call at the server", async () => {
  let resolveEnded = (): void => undefined;
  const ended = new Promise<void>((resolve) => {
    resolveEnded = resolve;
  });
  await using server = await TestServer.start(certs, {
    async *getJobsStream(_, { signal }) {
      yield output(0, "one");
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
      resolveEnded();
    },
  });
  using client = server.client();
  const stream = client.stream("1");
  for await (const chunk of stream) {
    assert.equal(chunk.data.length, 3);
    break;
  }
  await ended;
  await assert.rejects(stream.result(), { code: "CANCELLED", message: /closed before its end/ });
});

for (const [code, options] of [
  ["DEADLINE_EXCEEDED", () => ({ timeoutMs: 100 })],
  ["CANCELLED", () => ({ signal: AbortSignal.timeout(100) })],
] as const) {
  test(`a stream of a silent job ends with ${code}`, async () => {
    await using server = await TestServer.start(certs, {
      async *getJobsStream(_, { signal }) {
        yield output(0, "one");
        await new Promise((resolve) => signal.addEventListener("abort", resolve));
      },
    });
    using client = server.client();
    await assert.rejects(textOf(client.stream("1", options())), { code });
  });
}
