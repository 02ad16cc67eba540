import assert from "node:assert/strict";
import { after, test } from "node:test";
import { create } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { JobStatus } from "@jobworker/client";
import { CallContext } from "../src/core/call_context.js";
import { waitForEnd } from "../src/core/job_wait.js";
import { DEFAULT_RETRY_POLICY } from "../src/core/retry_policy.js";
import {
  type WaitJobRequest,
  type WaitJobResponse,
  WaitJobResponseSchema,
} from "../src/gen/jobworker/v1/job_service_pb.js";
import { resolveConfig } from "../src/node/config.js";
import { TlsConnection } from "../src/node/connection.js";
import { Certificates, serverError, TestServer } from "./server.js";

const certs = new Certificates();
after(() => certs[Symbol.dispose]());

const RUNNING = create(WaitJobResponseSchema, { job: { id: "1", status: JobStatus.RUNNING } });
const DONE = create(WaitJobResponseSchema, { job: { id: "1", exitCode: 3 }, done: true });
const UNAVAILABLE = serverError(Code.Unavailable, "SHUTTING_DOWN");

/** A server that answers each call with the next step. The last step repeats. */
async function start(...steps: (WaitJobResponse | Error | "hang")[]) {
  const requests: WaitJobRequest[] = [];
  const server = await TestServer.start(certs, {
    waitJob: async (request, { signal }) => {
      requests.push(request);
      const step = steps[Math.min(requests.length, steps.length) - 1];
      if (step === "hang") {
        await new Promise((resolve) => signal.addEventListener("abort", resolve));
      }
      if (step instanceof Error) {
        throw step;
      }
      return step === "hang" || step === undefined ? RUNNING : step;
    },
  });
  return { server, requests };
}

test("wait requests the job at once and then its end", async () => {
  const { server, requests } = await start(RUNNING, RUNNING, DONE);
  await using _ = server;
  using client = server.client();
  assert.equal((await client.wait("1")).exitCode, 3);
  assert.deepEqual(
    requests.map((request) => request.timeout?.seconds),
    [0n, undefined, undefined],
  );
});

test("wait resumes after broken calls", async () => {
  const { server, requests } = await start(UNAVAILABLE, RUNNING, UNAVAILABLE, UNAVAILABLE, UNAVAILABLE, DONE);
  await using _ = server;
  using client = server.client();
  assert.equal((await client.wait("1")).exitCode, 3);
  assert.equal(requests.length, 6);
});

test("wait for an unknown job fails at once", async () => {
  const { server, requests } = await start(serverError(Code.NotFound, "JOB_NOT_FOUND"));
  await using _ = server;
  using client = server.client();
  await assert.rejects(client.wait("1"), { code: "NOT_FOUND", reason: "JOB_NOT_FOUND" });
  assert.equal(requests.length, 1);
});

test("wait fails after the resume timeout", async () => {
  const { server } = await start(RUNNING, UNAVAILABLE);
  await using _ = server;
  const connection = new TlsConnection(
    resolveConfig({ server: `127.0.0.1:${server.port}`, certs: certs.directory }),
  );
  const policy = { ...DEFAULT_RETRY_POLICY, resumeTimeoutMs: 20, streamBackoffMs: [1] as const };
  using context = new CallContext([], undefined);
  await assert.rejects(waitForEnd(connection, "1", context, policy), { code: "UNAVAILABLE" });
  connection.close();
});

test("wait ends with its timeout", async () => {
  const { server } = await start(RUNNING, "hang");
  await using _ = server;
  using client = server.client();
  await assert.rejects(client.wait("1", { timeoutMs: 100 }), { code: "DEADLINE_EXCEEDED" });
});
