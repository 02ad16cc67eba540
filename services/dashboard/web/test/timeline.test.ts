import assert from "node:assert/strict";
import { test } from "node:test";
import { create, durationFromMs, JobSchema, JobStatus, timestampFromDate } from "@jobworker/client/browser";
import { timeline } from "../src/job/timeline.js";

const at = (ms: number) => timestampFromDate(new Date(ms));

function titles(...fields: Parameters<typeof create<typeof JobSchema>>[1][]): string[] {
  return fields.flatMap((each) =>
    timeline(create(JobSchema, each)).map(({ title, details }) => `${title}: ${details}`),
  );
}

test("a job that has ended has its whole life", () => {
  const moments = timeline(
    create(JobSchema, {
      status: JobStatus.FAILED,
      owner: "CN=alice,OU=Admin",
      createTime: at(1000),
      startTime: at(3000),
      memoryHighLiftTime: at(4000),
      endTime: at(8000),
      termination: { message: "the command exited with code 3" },
    }),
  );
  assert.deepEqual(
    moments.map(({ title, time, details, kind }) => [title, time?.getTime(), details, kind]),
    [
      ["Created", 1000, "by alice", "past"],
      ["Started", 3000, "after 2.0s", "past"],
      ["Throttling lifted", 4000, "the server removed memory.high at 90 % of the limit", "warn"],
      ["Failed", 8000, "after 5.0s: the command exited with code 3", "bad"],
    ],
  );
});

test("a queued job has its position, the reason and the end of the wait", () => {
  const moments = timeline(
    create(JobSchema, {
      status: JobStatus.QUEUED,
      createTime: at(1000),
      queuePosition: 2,
      queueReason: "4 of 4 jobs run",
      queueTimeout: durationFromMs(60_000),
    }),
  );
  assert.deepEqual(
    moments.map(({ title, time, details }) => [title, time?.getTime(), details]),
    [
      ["Created", 1000, "by "],
      ["Waits at position 2 of the queue", undefined, "4 of 4 jobs run"],
      ["Leaves the queue", 61_000, "if it has not started before"],
    ],
  );
});

test("a running job has its deadline, and a kill that the kernel has not carried out", () => {
  const running = {
    status: JobStatus.RUNNING,
    startTime: at(1000),
    timeout: durationFromMs(5000),
    killPending: true,
  };
  assert.deepEqual(titles(running), [
    "Started: ",
    "Kill pending: a process is blocked in the kernel",
    "Times out: if it still runs",
  ]);
});

test("a job that never started has only its end", () => {
  const expired = {
    status: JobStatus.FAILED,
    endTime: at(9000),
    termination: { message: "it waited for 1m" },
  };
  assert.deepEqual(titles(expired), ["Failed: it waited for 1m"]);
});

test("a job of a cluster has its node, and waits without a position at first", () => {
  const created = { createTime: at(1000) };
  assert.deepEqual(titles({ ...created, status: JobStatus.QUEUED }), [
    "Created: by ",
    "Waits in the queue: ",
  ]);
  assert.deepEqual(
    titles({ ...created, status: JobStatus.RUNNING, startTime: at(3000), node: "n1", attempt: 2 }),
    ["Created: by ", "Started: after 2.0s on n1 in attempt 2"],
  );
});
