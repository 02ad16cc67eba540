import assert from "node:assert/strict";
import { after, test } from "node:test";
import { setImmediate } from "node:timers/promises";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { create } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { type Chunk, JobStatus, type JobStream } from "@jobworker/client";
import { Connection } from "../src/connection.js";
import { Follower } from "../src/follower.js";
import {
  type GetJobsStreamRequest,
  GetJobsStreamRequestSchema,
  type GetJobsStreamResponseSchema,
  OutputSource,
} from "../src/gen/jobworker/v1/job_service_pb.js";
import { Scope } from "../src/scope.js";
import { settingsOf } from "../src/settings.js";
import { Certificates, refusal, ScriptedServer } from "./scripted.js";

type Message = MessageInitShape<typeof GetJobsStreamResponseSchema>;

const certs = new Certificates();
after(() => certs[Symbol.dispose]());

const RESULT: Message = { result: { id: "1", status: JobStatus.COMPLETED, exitCode: 0 } };

function output(offset: number, text: string, source = OutputSource.STDOUT): Message {
  return { offset: BigInt(offset), payload: Buffer.from(text), source, time: { seconds: 5n } };
}

/** A message to send, an error to end with, or the wait for the end of the call. */
type Step = Message | Error | "hang";

/** A server each of whose streams is one of the scripts; `asked` is what they were asked for. */
class Scripts {
  readonly asked: GetJobsStreamRequest[] = [];
  readonly #scripts: readonly Step[][];

  constructor(...scripts: Step[][]) {
    this.#scripts = scripts;
  }

  async start(): Promise<ScriptedServer> {
    return await ScriptedServer.started(certs, {
      getJobsStream: (request, { signal }) => this.#play(request, signal),
    });
  }

  async *#play(request: GetJobsStreamRequest, signal: AbortSignal): AsyncGenerator<Message> {
    this.asked.push(request);
    for (const step of this.#scripts[this.asked.length - 1] ?? []) {
      if (step === "hang") {
        await new Promise((resolve) => signal.addEventListener("abort", resolve));
      } else if (step instanceof Error) {
        throw step;
      } else {
        yield step;
      }
    }
  }
}

async function textOf(stream: JobStream, onChunk: () => unknown = () => undefined): Promise<string> {
  const parts: Uint8Array[] = [];
  for await (const chunk of stream) {
    parts.push(chunk.data);
    onChunk();
  }
  return Buffer.concat(parts).toString();
}

test("a stream's chunks have data, offset, source and time; the job comes at the end", async () => {
  const scripts = new Scripts([output(0, "out"), output(3, "err", OutputSource.STDERR), RESULT]);
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

test("a message of both sources comes in chunks of one source and one time", async () => {
  const mixed: Message = {
    ...output(2, "outerr more"),
    spanBytes: [8, 3],
    spanOffsetUsec: [0n, 1_000_000n],
    sourceRunBytes: [3, 3, 5],
  };
  const scripts = new Scripts(
    [output(0, "ab"), mixed, refusal(Code.Unavailable, "READER_STALLED")],
    [output(13, "!"), RESULT],
  );
  await using server = await scripts.start();
  using client = server.client();
  const stream = client.stream("1");
  const found: unknown[] = [];
  for await (const chunk of stream) {
    assert.equal(stream.offset, chunk.offset + chunk.data.length);
    found.push([chunk.offset, Buffer.from(chunk.data).toString(), chunk.source, chunk.time?.getTime()]);
  }
  assert.deepEqual(found, [
    [0, "ab", "stdout", 5000],
    [2, "out", "stdout", 5000],
    [5, "err", "stderr", 5000],
    [8, " m", "stdout", 5000],
    [10, "ore", "stdout", 6000],
    [13, "!", "stdout", 5000],
  ]);
  assert.deepEqual(
    scripts.asked.map((request) => [request.offset, request.mixedSources]),
    [
      [0n, true],
      [13n, true],
    ],
  );
});

test("a message of one source may skip the other", async () => {
  const skipping: Message = { ...output(2, "out more"), sourceRunBytes: [3, 3, 5] };
  const scripts = new Scripts([skipping, output(15, "!"), RESULT]);
  await using server = await scripts.start();
  using client = server.client();
  const found: unknown[] = [];
  for await (const chunk of client.stream("1", { source: "stdout" })) {
    found.push([chunk.offset, Buffer.from(chunk.data).toString(), chunk.source]);
  }
  assert.deepEqual(found, [
    [2, "out", "stdout"],
    [8, " more", "stdout"],
    [15, "!", "stdout"],
  ]);
});

test("the options say what to stream", async () => {
  const scripts = new Scripts([RESULT]);
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
  } = scripts.asked[0] as GetJobsStreamRequest;
  assert.deepEqual([offset, tailLines, tailBytes, time?.seconds], [3n, 4n, 5n, 7n]);
  assert.deepEqual([source, follow], [OutputSource.STDERR, false]);
});

function assertResumed(scripts: Scripts): void {
  const offsets = scripts.asked.map((request) => request.offset);
  assert.deepEqual(offsets, [0n, 4n, 8n]);
}

test("a stream whose connection is cut goes on behind its last byte", async () => {
  const scripts = new Scripts(
    [output(0, "one "), "hang"],
    [output(4, "two "), "hang"],
    [output(8, "three"), RESULT],
  );
  await using server = await scripts.start();
  using client = server.client();
  const text = await textOf(client.stream("1"), () => scripts.asked.length < 3 && server.cut());
  assert.equal(text, "one two three");
  assertResumed(scripts);
});

for (const reason of ["READER_STALLED", "SHUTTING_DOWN"]) {
  test(`a stream that the server ends with ${reason} goes on behind its last byte`, async () => {
    const end = refusal(Code.Unavailable, reason);
    const scripts = new Scripts(
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

test("a stream that ends without a result goes on", async () => {
  const scripts = new Scripts([output(0, "one ")], [output(4, "two"), RESULT]);
  await using server = await scripts.start();
  using client = server.client();
  assert.equal(await textOf(client.stream("1")), "one two");
});

test("the place of a tail is asked for until it is known, and not again", async () => {
  const away = refusal(Code.Unavailable, "SUPERVISOR_UNAVAILABLE");
  const scripts = new Scripts([away], [{ offset: 90n }, away], [output(90, "tail"), away], [RESULT]);
  await using server = await scripts.start();
  using client = server.client();
  assert.equal(await textOf(client.stream("1", { tailLines: 1 })), "tail");
  assert.deepEqual(
    scripts.asked.map(({ offset, tailLines }) => [offset, tailLines]),
    [
      [0n, 1n],
      [0n, 1n],
      [90n, undefined],
      [94n, undefined],
    ],
  );
});

test("more than HTTP/2's 64 KiB of output may be under way to a reader", { timeout: 20_000 }, async () => {
  const scripts = new Scripts([output(0, "one"), "hang"]);
  await using server = await scripts.start();
  using client = server.client();
  for await (const _ of client.stream("1")) {
    while ((server.session?.state.remoteWindowSize ?? 0) < 1024 * 1024) {
      await setImmediate();
    }
    break;
  }
});

test("a gap is told of, and the stream goes on behind it", async () => {
  const truncated = { fromOffset: 0n, toOffset: 100n, reason: "given up" };
  const scripts = new Scripts(
    [{ offset: 0n, truncated }, refusal(Code.Unavailable, "SHUTTING_DOWN")],
    [output(100, "rest"), RESULT],
  );
  await using server = await scripts.start();
  using client = server.client();
  const chunks: Chunk[] = [];
  for await (const chunk of client.stream("1")) {
    chunks.push(chunk);
  }
  assert.deepEqual(chunks[0]?.truncated, { from: 0, to: 100, reason: "given up" });
  assert.equal(chunks[0]?.data.length, 0);
  assert.equal(chunks[1]?.offset, 100);
  assert.equal(scripts.asked[1]?.offset, 100n);
});

for (const [name, offset] of [
  ["comes twice", 2],
  ["is missing", 5],
] as const) {
  test(`a byte that ${name} is an error`, async () => {
    const scripts = new Scripts([output(0, "one"), output(offset, "two"), RESULT]);
    await using server = await scripts.start();
    using client = server.client();
    await assert.rejects(textOf(client.stream("1")), {
      name: "JobWorkerError",
      code: "DATA_LOSS",
      message: `the server sent byte ${offset} of the output where byte 3 was due`,
    });
  });
}

test("with one source there is the other's output between two messages", async () => {
  const scripts = new Scripts([output(0, "one "), output(70, "two"), RESULT]);
  await using server = await scripts.start();
  using client = server.client();
  assert.equal(await textOf(client.stream("1", { source: "stdout" })), "one two");
});

test("what the server refuses ends the stream", async () => {
  const scripts = new Scripts([refusal(Code.NotFound, "JOB_NOT_FOUND")]);
  await using server = await scripts.start();
  using client = server.client();
  await assert.rejects(textOf(client.stream("1")), { code: "NOT_FOUND", reason: "JOB_NOT_FOUND" });
  assert.equal(scripts.asked.length, 1);
});

test("wait asks for the result alone, over as many connections as it takes", async () => {
  const scripts = new Scripts([refusal(Code.Unavailable, "SHUTTING_DOWN")], [], [RESULT]);
  await using server = await scripts.start();
  using client = server.client();
  assert.equal((await client.wait("1")).exitCode, 0);
  assert.ok(scripts.asked.every((request) => request.resultOnly));
});

test("leaving a stream ends the call at the server", async () => {
  let tellEnded = (): void => undefined;
  const ended = new Promise<void>((resolve) => {
    tellEnded = resolve;
  });
  await using server = await ScriptedServer.started(certs, {
    async *getJobsStream(_, { signal }) {
      yield output(0, "one");
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
      tellEnded();
    },
  });
  using client = server.client();
  const stream = client.stream("1");
  for await (const chunk of stream) {
    assert.equal(chunk.data.length, 3);
    break;
  }
  await ended;
  await assert.rejects(stream.result(), { code: "CANCELLED", message: /left before its end/ });
});

for (const [code, options] of [
  ["DEADLINE_EXCEEDED", () => ({ timeoutMs: 100 })],
  ["CANCELLED", () => ({ signal: AbortSignal.timeout(100) })],
] as const) {
  test(`a stream of a silent job ends with ${code}`, async () => {
    await using server = await ScriptedServer.started(certs, {
      async *getJobsStream(_, { signal }) {
        yield output(0, "one");
        await new Promise((resolve) => signal.addEventListener("abort", resolve));
      },
    });
    using client = server.client();
    await assert.rejects(textOf(client.stream("1", options())), { code });
  });
}

test("a stream is given up when the server stays away for too long", async () => {
  const scripts = new Scripts([output(0, "one"), "hang"]);
  const server = await scripts.start();
  const connection = new Connection(settingsOf({ server: `127.0.0.1:${server.port}`, certs: certs.folder }));
  const request = create(GetJobsStreamRequestSchema, { id: "1" });
  const follower = new Follower(connection, request, { connectMs: 200, resumeMs: 300 });
  using scope = new Scope([], undefined);
  const chunks = follower.run(scope);
  try {
    await chunks.next();
  } finally {
    await server[Symbol.asyncDispose]();
  }
  await assert.rejects(chunks.next(), { code: "UNAVAILABLE", retryable: true });
  assert.equal(follower.offset, 3);
});
