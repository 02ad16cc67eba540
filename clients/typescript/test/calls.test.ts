import assert from "node:assert/strict";
import { after, test } from "node:test";
import { Code } from "@connectrpc/connect";
import { JobStatus, JobWorkerError } from "@jobworker/client";
import { away, Certificates, refusal, ScriptedServer } from "./scripted.js";

const certs = new Certificates();
after(() => certs[Symbol.dispose]());

function failsWith(expected: Partial<JobWorkerError>): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof JobWorkerError, String(error));
    const actual = Object.fromEntries(
      Object.keys(expected).map((key) => [key, error[key as keyof JobWorkerError]]),
    );
    assert.deepEqual(actual, expected);
    return true;
  };
}

test("create sends the request and returns the job", async () => {
  await using server = await ScriptedServer.started(certs, {
    createJob: ({ command, args, maxCpu }) => ({ job: { id: "1", command, args, maxCpu } }),
  });
  using client = server.client();
  const job = await client.create({ command: "ls", args: ["-l"], maxCpu: 50 });
  assert.deepEqual([job.id, job.command, job.args, job.maxCpu], ["1", "ls", ["-l"], 50]);
});

test("create is repeated with the same request id while the server is away", async () => {
  const ids: string[] = [];
  await using server = await ScriptedServer.started(certs, {
    createJob({ requestId }) {
      ids.push(requestId);
      if (ids.length < 3) {
        throw away();
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

test("create takes the caller's request id", async () => {
  await using server = await ScriptedServer.started(certs, {
    createJob: ({ requestId }) => ({ job: { id: requestId } }),
  });
  using client = server.client();
  assert.equal((await client.create({ command: "ls", requestId: "mine" })).id, "mine");
});

test("a call whose connection is cut is made again on a new one", async () => {
  let calls = 0;
  await using server: ScriptedServer = await ScriptedServer.started(certs, {
    getJob({ id }) {
      calls += 1;
      if (calls === 1) {
        server.cut();
      }
      return { job: { id } };
    },
  });
  using client = server.client();
  assert.equal((await client.get("7")).id, "7");
  assert.equal(calls, 2);
});

test("an error has the code, the reason, the fields and the metadata", async () => {
  let calls = 0;
  await using server = await ScriptedServer.started(certs, {
    getJob() {
      calls += 1;
      throw refusal(Code.InvalidArgument, "INVALID_REQUEST", "max_cpu");
    },
  });
  using client = server.client();
  await assert.rejects(
    client.get("1"),
    failsWith({
      code: "INVALID_ARGUMENT",
      reason: "INVALID_REQUEST",
      message: "refused: INVALID_REQUEST",
      fields: [{ field: "max_cpu", description: "is not right" }],
      metadata: { why: "INVALID_REQUEST" },
      retryable: false,
    }),
  );
  assert.equal(calls, 1, "what the server refuses is not tried again");
});

test("the first failure is the one that is thrown when the server stays away", async () => {
  let calls = 0;
  await using server = await ScriptedServer.started(certs, {
    getJob() {
      calls += 1;
      throw refusal(Code.Unavailable, `FAILURE_${calls}`);
    },
  });
  using client = server.client();
  await assert.rejects(client.get("1"), failsWith({ code: "UNAVAILABLE", reason: "FAILURE_1" }));
  assert.equal(calls, 5);
});

test("a server that trusts another authority is told of as unavailable", async () => {
  using others = new Certificates();
  await using server = await ScriptedServer.started(others, {});
  using client = server.client({ certs: certs.folder });
  await assert.rejects(client.get("1"), failsWith({ code: "UNAVAILABLE", reason: "", retryable: false }));
});

test("list asks for page after page, with the same filters", async () => {
  const asked: unknown[] = [];
  await using server = await ScriptedServer.started(certs, {
    listJobs({ pageToken, statuses, pageSize }) {
      asked.push([pageToken, statuses, pageSize]);
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
  assert.deepEqual(asked, [
    ["", [JobStatus.RUNNING], 2],
    ["next", [JobStatus.RUNNING], 2],
  ]);
});

test("update sends the limits that are given, and no others", async () => {
  const asked: unknown[] = [];
  await using server = await ScriptedServer.started(certs, {
    updateJob({ id, maxCpu, maxMemory, cpuSet }) {
      asked.push([maxCpu, maxMemory, cpuSet]);
      return { job: { id } };
    },
  });
  using client = server.client();
  assert.equal((await client.update("1", { maxMemory: 64, cpuSet: "" })).id, "1");
  assert.deepEqual(asked, [[undefined, 64, ""]]);
});

test("stop sends the grace period, and none if there is none", async () => {
  const asked: (bigint | undefined)[] = [];
  await using server = await ScriptedServer.started(certs, {
    stopJob({ id, gracePeriod }) {
      asked.push(gracePeriod?.seconds);
      return { job: { id } };
    },
  });
  using client = server.client();
  await client.stop("1", { gracePeriodMs: 5000 });
  await client.stop("1");
  assert.deepEqual(asked, [5n, undefined]);
});

/** Never answers, and tells of the end of the call. */
function silent(): {
  methods: { getJob: (_: unknown, context: { signal: AbortSignal }) => Promise<never> };
  called: Promise<void>;
  ended: Promise<void>;
} {
  let [tellCalled, tellEnded] = [(): void => undefined, (): void => undefined];
  const called = new Promise<void>((resolve) => {
    tellCalled = resolve;
  });
  const ended = new Promise<void>((resolve) => {
    tellEnded = resolve;
  });
  const getJob = async (_: unknown, { signal }: { signal: AbortSignal }): Promise<never> => {
    tellCalled();
    await new Promise((resolve) => signal.addEventListener("abort", resolve));
    tellEnded();
    throw away();
  };
  return { methods: { getJob }, called, ended };
}

test("a deadline ends the call here and at the server", async () => {
  const { methods, ended } = silent();
  await using server = await ScriptedServer.started(certs, methods);
  using client = server.client();
  await assert.rejects(client.get("1", { timeoutMs: 50 }), failsWith({ code: "DEADLINE_EXCEEDED" }));
  await ended;
});

test("the client's own timeout is for calls that have none", async () => {
  const { methods } = silent();
  await using server = await ScriptedServer.started(certs, methods);
  using client = server.client({ timeoutMs: 50 });
  await assert.rejects(client.get("1"), failsWith({ code: "DEADLINE_EXCEEDED" }));
});

test("a signal ends the call here and at the server", async () => {
  const { methods, called, ended } = silent();
  await using server = await ScriptedServer.started(certs, methods);
  using client = server.client();
  const controller = new AbortController();
  const call = client.get("1", { signal: controller.signal });
  await called;
  controller.abort(new Error("enough"));
  await assert.rejects(call, failsWith({ code: "CANCELLED", cause: new Error("enough") }));
  await ended;
});

test("close ends open calls, and there are no more", async () => {
  const { methods, called } = silent();
  await using server = await ScriptedServer.started(certs, methods);
  const client = server.client();
  const call = client.get("1");
  await called;
  client.close();
  await assert.rejects(call, failsWith({ code: "CANCELLED", message: "the client was closed" }));
  await assert.rejects(client.get("1"), failsWith({ code: "CANCELLED" }));
});

test("many calls at once may have one signal", async () => {
  await using server = await ScriptedServer.started(certs, { getJob: ({ id }) => ({ job: { id } }) });
  using client = server.client();
  const warnings: Error[] = [];
  const keep = (warning: Error): unknown => warnings.push(warning);
  process.on("warning", keep);
  const { signal } = new AbortController();
  await Promise.all(Array.from({ length: 30 }, (_, index) => client.get(String(index), { signal })));
  process.off("warning", keep);
  assert.deepEqual(warnings, []);
});
