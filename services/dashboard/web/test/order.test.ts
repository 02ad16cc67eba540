import assert from "node:assert/strict";
import { test } from "node:test";
import { create, type Job, JobSchema, JobStatus, timestampFromDate } from "@jobworker/client/browser";
import { DEFAULT_ORDER, formatOrder, nextOrder, parseOrder, sortJobs } from "../src/jobs/order.js";

const NOW = 100_000;

function job(
  id: string,
  fields: { status?: JobStatus; command?: string; start?: number; end?: number },
): Job {
  const { status = JobStatus.COMPLETED, command = "true", start, end } = fields;
  return create(JobSchema, {
    id,
    status,
    command,
    ...(start === undefined ? {} : { startTime: timestampFromDate(new Date(start)) }),
    ...(end === undefined ? {} : { endTime: timestampFromDate(new Date(end)) }),
  });
}

function ids(jobs: readonly Job[]): string {
  return jobs.map(({ id }) => id).join(" ");
}

test("the default order is the newest job first, and not part of the address", () => {
  assert.equal(ids(sortJobs([job("b", {}), job("c", {}), job("a", {})], DEFAULT_ORDER, NOW)), "c b a");
  assert.equal(formatOrder(DEFAULT_ORDER), "");
  assert.deepEqual(parseOrder(null), DEFAULT_ORDER);
  assert.deepEqual(parseOrder("-colour"), DEFAULT_ORDER);
});

test("an order survives the address", () => {
  for (const text of ["status", "-command", "created", "-output"]) {
    assert.equal(formatOrder(parseOrder(text)), text);
  }
});

test("a second click on a heading reverses the order", () => {
  const first = nextOrder(DEFAULT_ORDER, "command");
  assert.deepEqual(first, { column: "command", descending: false });
  assert.deepEqual(nextOrder(first, "command"), { column: "command", descending: true });
});

test("statuses are in the order of a job's life, and equal ones are newest first", () => {
  const jobs = [
    job("a", { status: JobStatus.FAILED }),
    job("b", { status: JobStatus.QUEUED }),
    job("c", { status: JobStatus.RUNNING }),
    job("d", { status: JobStatus.FAILED }),
  ];
  assert.equal(ids(sortJobs(jobs, { column: "status", descending: false }, NOW)), "b c d a");
});

test("a running job has run until now", () => {
  const jobs = [job("a", { start: 0, end: 50_000 }), job("b", { start: 10_000 }), job("c", {})];
  assert.equal(ids(sortJobs(jobs, { column: "duration", descending: true }, NOW)), "b a c");
});

test("jobs are sorted by their nodes", () => {
  const jobs = ["b", "a", ""].map((node) => create(JobSchema, { id: `on ${node}`, node }));
  assert.deepEqual(parseOrder("node"), { column: "node", descending: false });
  assert.equal(ids(sortJobs(jobs, parseOrder("-node"), NOW)), "on b on a on ");
});
