import assert from "node:assert/strict";
import { after, test } from "node:test";
import { create } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { JobStatus, type JobWatch, RemovalReason } from "@jobworker/client";
import {
  type WatchJobsRequest,
  type WatchJobsResponse,
  WatchJobsResponseSchema,
} from "../src/gen/jobworker/v1/job_watch_pb.js";
import { Certificates, serverError, TestServer, unavailable } from "./server.js";

const certs = new Certificates();
after(() => certs[Symbol.dispose]());

function changed(id: string, revision: number, status = JobStatus.RUNNING): WatchJobsResponse {
  const value = { job: { id, status }, revision: BigInt(revision) };
  return create(WatchJobsResponseSchema, { kind: { case: "changed", value } });
}

function removed(id: string, revision: number, reason = RemovalReason.DELETED): WatchJobsResponse {
  const value = { id, reason, revision: BigInt(revision) };
  return create(WatchJobsResponseSchema, { kind: { case: "removed", value } });
}

function bookmark(cursor: string): WatchJobsResponse {
  return create(WatchJobsResponseSchema, { kind: { case: "bookmark", value: { cursor } } });
}

const RESET = create(WatchJobsResponseSchema, { kind: { case: "reset", value: {} } });
const UNKNOWN = create(WatchJobsResponseSchema);

/** A server that plays one script per call. A call breaks after its script, except the last one. */
async function start(...scripts: (WatchJobsResponse | Error)[][]) {
  const requests: WatchJobsRequest[] = [];
  const server = await TestServer.start(certs, {
    async *watchJobs(request, { signal }) {
      requests.push(request);
      for (const step of scripts[requests.length - 1] ?? []) {
        if (step instanceof Error) {
          throw step;
        }
        yield step;
      }
      if (requests.length < scripts.length) {
        throw unavailable();
      }
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
    },
  });
  return { server, requests };
}

/** Returns the next events as text. */
async function events(watch: JobWatch, count: number): Promise<string[]> {
  const found: string[] = [];
  for await (const event of watch) {
    if (event.type === "changed") {
      found.push(`${event.job.id} ${JobStatus[event.job.status]}`);
    } else if (event.type === "removed") {
      found.push(`-${event.id} ${RemovalReason[event.reason]} ${event.job !== undefined}`);
    } else {
      found.push(event.type);
    }
    if (found.length === count) {
      break;
    }
  }
  return found;
}

test("watch continues after the bookmark without repeated events", async () => {
  const { server, requests } = await start(
    [changed("a", 0), bookmark("x"), changed("b", 4), removed("b", 5), removed("unknown", 6), UNKNOWN],
    [changed("b", 4), removed("b", 5), changed("a", 7, JobStatus.COMPLETED)],
  );
  await using _ = server;
  using client = server.client();
  const watch = client.watch({ labels: { a: "b" }, createdAfter: new Date(0) });
  assert.deepEqual(await events(watch, 5), [
    "a RUNNING",
    "synced",
    "b RUNNING",
    "-b DELETED true",
    "a COMPLETED",
  ]);
  assert.deepEqual([...watch.jobs.keys()], ["a"]);
  assert.deepEqual(
    requests.map((request) => [request.cursor, request.labels, request.createdAfter?.seconds]),
    [
      ["", { a: "b" }, 0n],
      ["x", { a: "b" }, 0n],
    ],
  );
});

test("watch compares the snapshot after a reset with the known jobs", async () => {
  const { server } = await start(
    [changed("a", 0), changed("b", 9), bookmark("x")],
    [RESET, changed("b", 0, JobStatus.FAILED), removed("c", 0, RemovalReason.NOT_FOUND), bookmark("y")],
  );
  await using _ = server;
  using client = server.client();
  const watch = client.watch();
  assert.deepEqual(await events(watch, 7), [
    "a RUNNING",
    "b RUNNING",
    "synced",
    "b FAILED",
    "-c NOT_FOUND false",
    "-a UNSPECIFIED true",
    "synced",
  ]);
  assert.deepEqual([...watch.jobs.keys()], ["b"]);
});

test("watch repeats an incomplete snapshot", async () => {
  const { server } = await start([changed("a", 0), changed("b", 0)], [changed("b", 0), bookmark("x")]);
  await using _ = server;
  using client = server.client();
  assert.deepEqual(await events(client.watch(), 4), [
    "a RUNNING",
    "b RUNNING",
    "-a UNSPECIFIED true",
    "synced",
  ]);
});

test("watch ends with a refusal and with its timeout", async () => {
  const { server } = await start([serverError(Code.PermissionDenied, "ROLE_REQUIRED")], []);
  await using _ = server;
  using client = server.client();
  await assert.rejects(events(client.watch(), 1), { code: "PERMISSION_DENIED" });
  await assert.rejects(events(client.watch({}, { timeoutMs: 100 }), 1), { code: "DEADLINE_EXCEEDED" });
});
