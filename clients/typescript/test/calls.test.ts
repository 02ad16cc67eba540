import assert from "node:assert/strict";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Code } from "@connectrpc/connect";
import { JobStatus, timestampDate } from "@jobworker/client";
import { DEFAULT_RETRY_POLICY } from "../src/core/retry_policy.js";
import { failsWith } from "./failure.js";
import { Certificates, type Methods, serverError, TestServer, unavailable } from "./server.js";

const certs = new Certificates();
after(() => certs[Symbol.dispose]());

test("create sends the request and returns the job", async () => {
  await using server = await TestServer.start(certs, {
    createJob: ({ command, args, maxCpu }) => ({ job: { id: "1", command, args, maxCpu } }),
  });
  using client = server.client();
  const job = await client.create({ command: "ls", args: ["-l"], maxCpu: 50 });
  assert.deepEqual([job.id, job.command, job.args, job.maxCpu], ["1", "ls", ["-l"], 50]);
});

test("create is retried with the same request id while the server is unavailable", async () => {
  const ids: string[] = [];
  await using server = await TestServer.start(certs, {
    createJob({ requestId }) {
      ids.push(requestId);
      if (ids.length < 3) {
        throw unavailable();
      }
      return { job: { id: "1" } };
    },
  });
  using client = server.client();
  await client.create({ command: "ls" });
  assert.equal(ids.length, 3);
  assert.match(ids[0] ?? "", /^[0-9a-f-]{36}$/);
  assert.equal(new Set(ids).size, 1);
});

test("a server that goes away between calls causes no uncaught error", async () => {
  await using server = await TestServer.start(certs, { getJob: ({ id }) => ({ job: { id } }) });
  using client = server.client();
  for (let round = 0; round < 20; round += 1) {
    assert.equal((await client.get("7")).id, "7");
    const { session } = server;
    // A graceful shutdown of gRPC announces itself before it names the last stream.
    session?.goaway(0, 2 ** 31 - 1);
    if (round % 2) {
      session?.goaway(0);
      session?.close();
    }
    await sleep(round % 4);
  }
});

test("create keeps the request id of the caller", async () => {
  await using server = await TestServer.start(certs, {
    createJob: ({ requestId }) => ({ job: { id: requestId } }),
  });
  using client = server.client();
  assert.equal((await client.create({ command: "ls", requestId: "mine" })).id, "mine");
});

test("a call whose connection breaks is retried on a new connection", async () => {
  let calls = 0;
  await using server: TestServer = await TestServer.start(certs, {
    getJob({ id }) {
      calls += 1;
      if (calls === 1) {
        server.disconnect();
      }
      return { job: { id } };
    },
  });
  using client = server.client();
  assert.equal((await client.get("7")).id, "7");
  assert.equal(calls, 2);
});

test("a call outlasts a restart of three seconds", async () => {
  const methods: Methods = { getJob: ({ id }) => ({ job: { id } }) };
  const first = await TestServer.start(certs, methods);
  const { port } = first;
  using client = first.client();
  await client.get("7");
  await first[Symbol.asyncDispose]();
  const call = client.get("7");
  await sleep(3_000);
  await using _second = await TestServer.start(certs, methods, port);
  assert.equal((await call).id, "7");
});

test("an error has the code, reason, fields, metadata and delay of the server", async () => {
  let calls = 0;
  await using server = await TestServer.start(certs, {
    getJob() {
      calls += 1;
      throw serverError(Code.InvalidArgument, "INVALID_REQUEST", "max_cpu");
    },
  });
  using client = server.client();
  await assert.rejects(
    client.get("1"),
    failsWith({
      code: "INVALID_ARGUMENT",
      reason: "INVALID_REQUEST",
      message: "failed: INVALID_REQUEST",
      fields: [{ field: "max_cpu", description: "is invalid" }],
      metadata: { key: "INVALID_REQUEST" },
      retryDelayMs: 1_500,
      retryable: false,
    }),
  );
  assert.equal(calls, 1, "an error that is not retryable must not be retried");
});

test("the first error is thrown if all retries fail", async () => {
  let calls = 0;
  await using server = await TestServer.start(certs, {
    getJob() {
      calls += 1;
      throw serverError(Code.Unavailable, `FAILURE_${calls}`);
    },
  });
  using client = server.client();
  await assert.rejects(client.get("1"), failsWith({ code: "UNAVAILABLE", reason: "FAILURE_1" }));
  assert.equal(calls, 1 + DEFAULT_RETRY_POLICY.callBackoffMs.length);
});

test("a server that trusts another CA is unavailable", async () => {
  using otherCerts = new Certificates();
  await using server = await TestServer.start(otherCerts, {});
  using client = server.client({ certs: certs.directory });
  await assert.rejects(client.get("1"), failsWith({ code: "UNAVAILABLE", reason: "", retryable: false }));
});

test("list requests all pages with the same filters", async () => {
  const requests: unknown[] = [];
  await using server = await TestServer.start(certs, {
    listJobs({ pageToken, statuses, pageSize }) {
      requests.push([pageToken, statuses, pageSize]);
      return pageToken === ""
        ? { jobs: [{ id: "3" }, { id: "2" }], nextPageToken: "next" }
        : { jobs: [{ id: "1" }] };
    },
  });
  using client = server.client();
  const ids: string[] = [];
  for await (const job of client.list({ statuses: [JobStatus.RUNNING], pageSize: 2 })) {
    ids.push(job.id);
  }
  assert.deepEqual(ids, ["3", "2", "1"]);
  assert.deepEqual(requests, [
    ["", [JobStatus.RUNNING], 2],
    ["next", [JobStatus.RUNNING], 2],
  ]);
});

test("list sends all filters and continues after an empty page", async () => {
  const requests: unknown[] = [];
  await using server = await TestServer.start(certs, {
    listJobs({ pageToken, owner, commandContains, createdAfter, createdBefore }) {
      const times = [createdAfter, createdBefore].map((time) => time && timestampDate(time).toISOString());
      requests.push([pageToken, owner, commandContains, ...times]);
      return pageToken === "" ? { nextPageToken: "next" } : { jobs: [{ id: "1" }] };
    },
  });
  using client = server.client();
  const [createdAfter, owner, commandContains] = [new Date("2026-03-01T17:04:05.5Z"), "CN=alice", "train"];
  const ids: string[] = [];
  for await (const job of client.list({ owner, commandContains, createdAfter })) {
    ids.push(job.id);
  }
  assert.deepEqual(ids, ["1"]);
  assert.deepEqual(
    requests,
    ["", "next"].map((token) => [token, owner, commandContains, createdAfter.toISOString(), undefined]),
  );
});

test("update sends only the given limits", async () => {
  const requests: unknown[] = [];
  await using server = await TestServer.start(certs, {
    updateJob({ id, maxCpu, maxMemory, cpuSet }) {
      requests.push([maxCpu, maxMemory, cpuSet]);
      return { job: { id } };
    },
  });
  using client = server.client();
  assert.equal((await client.update("1", { maxMemory: 64, cpuSet: "" })).id, "1");
  assert.deepEqual(requests, [[undefined, 64, ""]]);
});

test("stop sends the grace period only if it is set", async () => {
  const requests: (bigint | undefined)[] = [];
  await using server = await TestServer.start(certs, {
    stopJob({ id, gracePeriod }) {
      requests.push(gracePeriod?.seconds);
      return { job: { id } };
    },
  });
  using client = server.client();
  await client.stop("1", { gracePeriodMs: 5000 });
  await client.stop("1");
  assert.deepEqual(requests, [5n, undefined]);
});

/** Returns a method that never answers. The promises resolve when the call begins and when it ends. */
function silentMethod(): {
  methods: { getJob: (_: unknown, context: { signal: AbortSignal }) => Promise<never> };
  called: Promise<void>;
  ended: Promise<void>;
} {
  let [resolveCalled, resolveEnded] = [(): void => undefined, (): void => undefined];
  const called = new Promise<void>((resolve) => {
    resolveCalled = resolve;
  });
  const ended = new Promise<void>((resolve) => {
    resolveEnded = resolve;
  });
  const getJob = async (_: unknown, { signal }: { signal: AbortSignal }): Promise<never> => {
    resolveCalled();
    await new Promise((resolve) => signal.addEventListener("abort", resolve));
    resolveEnded();
    throw unavailable();
  };
  return { methods: { getJob }, called, ended };
}

test("a timeout ends the call in the client and at the server", async () => {
  const { methods, ended } = silentMethod();
  await using server = await TestServer.start(certs, methods);
  using client = server.client();
  await assert.rejects(client.get("1", { timeoutMs: 50 }), failsWith({ code: "DEADLINE_EXCEEDED" }));
  await ended;
});

test("the timeout of the client applies to calls without their own", async () => {
  const { methods } = silentMethod();
  await using server = await TestServer.start(certs, methods);
  using client = server.client({ timeoutMs: 50 });
  await assert.rejects(client.get("1"), failsWith({ code: "DEADLINE_EXCEEDED" }));
});

test("a signal ends the call in the client and at the server", async () => {
  const { methods, called, ended } = silentMethod();
  await using server = await TestServer.start(certs, methods);
  using client = server.client();
  const controller = new AbortController();
  const call = client.get("1", { signal: controller.signal });
  await called;
  controller.abort(new Error("cancelled by the test"));
  await assert.rejects(call, failsWith({ code: "CANCELLED", cause: new Error("cancelled by the test") }));
  await ended;
});

test("close ends open calls and prevents new ones", async () => {
  const { methods, called } = silentMethod();
  await using server = await TestServer.start(certs, methods);
  const client = server.client();
  const call = client.get("1");
  await called;
  client.close();
  await assert.rejects(call, failsWith({ code: "CANCELLED", message: "the client was closed" }));
  await assert.rejects(client.get("1"), failsWith({ code: "CANCELLED" }));
});

test("many concurrent calls can share a signal", async () => {
  await using server = await TestServer.start(certs, { getJob: ({ id }) => ({ job: { id } }) });
  using client = server.client();
  const warnings: Error[] = [];
  const keep = (warning: Error): unknown => warnings.push(warning);
  process.on("warning", keep);
  const { signal } = new AbortController();
  await Promise.all(Array.from({ length: 30 }, (_, index) => client.get(String(index), { signal })));
  process.off("warning", keep);
  assert.deepEqual(warnings, []);
});
