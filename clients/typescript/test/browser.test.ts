import assert from "node:assert/strict";
import { after, test } from "node:test";
import { create } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { JobStatus } from "@jobworker/client/browser";
import { WebSocket as NodeWebSocket } from "ws";
import { StreamSocket } from "../src/browser/stream_socket.js";
import { WatchJobsResponseSchema } from "../src/gen/jobworker/v1/job_watch_pb.js";
import { AttachServer, PART, write } from "./attach_server.js";
import { DashboardServer } from "./dashboard_server.js";
import { failsWith } from "./failure.js";
import { output, RESULT, Scripts, textOf } from "./scripts.js";
import { Certificates, serverError, unavailable } from "./server.js";

const certs = new Certificates();
after(() => certs[Symbol.dispose]());

const MIB = 1024 * 1024;

test("a unary call returns the job", async () => {
  await using server = await DashboardServer.start({
    createJob: ({ command, args }) => ({ job: { id: "1", command, args } }),
  });
  using client = server.client();
  const job = await client.create({ command: "ls", args: ["-l"] });
  assert.deepEqual([job.id, job.command, job.args], ["1", "ls", ["-l"]]);
});

test("an error has the details of the server", async () => {
  await using server = await DashboardServer.start({
    createJob() {
      throw serverError(Code.InvalidArgument, "INVALID_REQUEST", "max_cpu");
    },
  });
  using client = server.client();
  await assert.rejects(
    client.create({ command: "ls" }),
    failsWith({
      code: "INVALID_ARGUMENT",
      reason: "INVALID_REQUEST",
      fields: [{ field: "max_cpu", description: "is invalid" }],
      metadata: { key: "INVALID_REQUEST" },
      retryable: false,
      retryDelayMs: 1_500,
    }),
  );
});

test("a call whose connection breaks is retried", async () => {
  let calls = 0;
  await using server: DashboardServer = await DashboardServer.start({
    getJob({ id }) {
      calls += 1;
      if (calls === 1) {
        server.disconnect();
      }
      return { job: { id } };
    },
  });
  const states: string[] = [];
  using client = server.client({ onState: (state) => states.push(state) });
  assert.equal((await client.get("7")).id, "7");
  assert.equal(calls, 2);
  assert.deepEqual(states, ["reconnecting", "connected"]);
});

test("a cancelled call does not change the state of the connection", async () => {
  let calls = 0;
  const controller = new AbortController();
  await using server = await DashboardServer.start({
    async getJob(_, { signal }) {
      calls += 1;
      if (calls > 1) {
        controller.abort();
        await new Promise((resolve) => signal.addEventListener("abort", resolve));
      }
      throw unavailable();
    },
  });
  const states: string[] = [];
  using client = server.client({ onState: (state) => states.push(state) });
  await assert.rejects(client.get("7", { signal: controller.signal }), { code: "CANCELLED" });
  assert.deepEqual(states, ["reconnecting"]);
});

test("a call without a session fails at once", async () => {
  let calls = 0;
  await using server = await DashboardServer.start({
    getJob() {
      calls += 1;
      throw serverError(Code.Unauthenticated, "");
    },
  });
  const states: string[] = [];
  using client = server.client({ onState: (state) => states.push(state) });
  await assert.rejects(client.get("7"), { code: "UNAUTHENTICATED" });
  assert.equal(calls, 1);
  assert.deepEqual(states, []);
});

test("a stream returns the output and the result", async () => {
  const scripts = new Scripts(certs, [output(0, "one "), output(4, "two"), RESULT]);
  await using server = await DashboardServer.start(scripts.methods);
  using client = server.client();
  const stream = client.stream("1", { tailLines: 3 });
  assert.equal(await textOf(stream), "one two");
  assert.equal((await stream.result()).status, JobStatus.COMPLETED);
  assert.equal(scripts.requests[0]?.tailLines, 3n);
  assert.deepEqual(server.texts, ["end"]);
});

test("a stream resumes after broken connections and errors of the server", async () => {
  const scripts = new Scripts(
    certs,
    [output(0, "one "), "hang"],
    [output(4, "two "), unavailable()],
    [output(8, "three "), serverError(Code.Unavailable, "READER_STALLED")],
    [output(14, "four"), RESULT],
  );
  await using server = await DashboardServer.start(scripts.methods);
  const states: string[] = [];
  using client = server.client({ onState: (state) => states.push(state) });
  const text = await textOf(client.stream("1"), () => scripts.requests.length < 2 && server.disconnect());
  assert.deepEqual(states.slice(0, 3), ["reconnecting", "connected", "reconnecting"]);
  assert.equal(states.at(-1), "connected");
  assert.equal(text, "one two three four");
  assert.deepEqual(
    scripts.requests.map((request) => request.offset),
    [0n, 4n, 8n, 14n],
  );
});

test("an error that is not retryable ends the stream", async () => {
  const scripts = new Scripts(certs, [serverError(Code.NotFound, "JOB_NOT_FOUND")]);
  await using server = await DashboardServer.start(scripts.methods);
  using client = server.client();
  await assert.rejects(textOf(client.stream("1")), { code: "NOT_FOUND", reason: "JOB_NOT_FOUND" });
  assert.equal(scripts.requests.length, 1);
});

test("a stream that is longer than the window of the dashboard is read to its end", async () => {
  const text = "x".repeat(MIB / 2);
  const parts = Array.from({ length: 20 }, (_, part) => output((part * MIB) / 2, text));
  const scripts = new Scripts(certs, [...parts, RESULT]);
  await using server = await DashboardServer.start(scripts.methods);
  using client = server.client();
  let bytes = 0;
  for await (const chunk of client.stream("1")) {
    bytes += chunk.data.length;
  }
  assert.equal(bytes, 10 * MIB);
});

test("a stream that is not read does not report bytes as consumed", async () => {
  const scripts = new Scripts(certs, [output(0, "x".repeat(2 * MIB)), "hang"]);
  await using server = await DashboardServer.start(scripts.methods);
  using client = server.client();
  for await (const _ of client.stream("1")) {
    break;
  }
  assert.deepEqual(server.texts, ["end"]);
});

for (const [name, end] of [
  ["leaving the loop", undefined],
  ["a cancelled stream", "CANCELLED"],
] as const) {
  test(`${name} ends the call at the server`, async () => {
    let resolveEnded = (): void => undefined;
    const ended = new Promise<void>((resolve) => {
      resolveEnded = resolve;
    });
    await using server = await DashboardServer.start({
      async *getJobsStream(_, { signal }) {
        yield output(0, "one");
        await new Promise((resolve) => signal.addEventListener("abort", resolve));
        resolveEnded();
      },
    });
    using client = server.client();
    const controller = new AbortController();
    const reading = (async () => {
      for await (const _ of client.stream("1", { signal: controller.signal })) {
        if (!end) {
          break;
        }
        controller.abort();
      }
    })();
    await (end ? assert.rejects(reading, { code: end }) : reading);
    await ended;
  });
}

test("a call that has ended takes no message, so that the next call sends it", async () => {
  const socket = new StreamSocket("ws://127.0.0.1:1/", NodeWebSocket as unknown as typeof WebSocket);
  socket.opened.catch(() => undefined);
  socket.close();
  assert.throws(() => socket.send(new Uint8Array(1)), { message: /the call has ended/ });
  await assert.rejects(socket.opened, { message: /the call has ended/ });
});

test("a call that ends before it is connected causes no error", async () => {
  await using server = await DashboardServer.start({});
  let onClose = (): void => undefined;
  const closed = new Promise<void>((resolve) => {
    onClose = resolve;
  });
  const errors: unknown[] = [];
  class Observed extends NodeWebSocket {
    constructor(url: string, protocol: string) {
      super(url, protocol);
      this.addEventListener("error", (event) => errors.push(event.message));
      this.addEventListener("close", () => onClose());
    }
  }
  using client = server.client({ webSocket: Observed as unknown as typeof WebSocket });
  const controller = new AbortController();
  const reading = textOf(client.stream("1", { signal: controller.signal }));
  await new Promise((resolve) => setImmediate(resolve));
  controller.abort();
  await assert.rejects(reading, { code: "CANCELLED" });
  await closed;
  assert.deepEqual(errors, []);
});

test("a watch continues at its cursor", async () => {
  const cursors: string[] = [];
  await using server = await DashboardServer.start({
    async *watchJobs({ cursor }, { signal }) {
      cursors.push(cursor);
      const job = { id: String(cursors.length), status: JobStatus.RUNNING };
      yield create(WatchJobsResponseSchema, { kind: { case: "changed", value: { job } } });
      yield create(WatchJobsResponseSchema, { kind: { case: "bookmark", value: { cursor: "c" } } });
      if (cursors.length === 1) {
        throw unavailable();
      }
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
    },
  });
  using client = server.client();
  const watch = client.watch();
  for await (const _ of watch) {
    if (watch.jobs.size === 2) {
      break;
    }
  }
  assert.deepEqual(cursors, ["", "c"]);
});

test("input and output of an attachment are exact over broken calls", async () => {
  const faults = [{ part: 0 }, { part: 1, accepts: 1000 }, { part: 4, accepts: 30_000 }, { part: 2 }];
  const job = new AttachServer(certs, { faults });
  await using server = await DashboardServer.start(job.methods);
  using client = server.client();
  const input = Buffer.alloc(7 * PART, "0123456789abcdef");
  const attachment = client.attach("1");
  const [text] = await Promise.all([textOf(attachment), write(attachment, input, Buffer.from("end!"))]);
  assert.equal(job.input.toString(), `${input}end!`);
  assert.equal(text, job.input.toString());
  assert.equal(job.starts.length, faults.length + 1);
});

test("input of an attachment survives broken connections", async () => {
  const job = new AttachServer(certs);
  await using server = await DashboardServer.start(job.methods);
  using client = server.client();
  const attachment = client.attach("1");
  const input = Buffer.alloc(7 * PART, "0123456789abcdef");
  const writing = write(attachment, input);
  const text = await textOf(attachment, () => job.starts.length < 4 && server.disconnect());
  await writing;
  assert.equal(text, input.toString());
  assert.ok(job.starts.length > 1);
});

test("detach ends the call after the signals and sizes", async () => {
  const job = new AttachServer(certs);
  await using server = await DashboardServer.start(job.methods);
  using client = server.client();
  const attachment = client.attach("1");
  await attachment.write(Buffer.from("abc"));
  attachment.signal("USR1");
  attachment.resize(80, 24);
  await attachment.detach();
  assert.deepEqual(job.events, ["USR1", "80x24", "detach", "end"]);
});
