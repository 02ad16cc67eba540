import assert from "node:assert/strict";
import { test } from "node:test";
import { create, type Job, JobSchema, JobStatus, Limit, TerminationReason } from "@jobworker/client/browser";
import { unenforced } from "../src/ui/enforcement.js";
import { statusDetail, statusStyle } from "../src/ui/status.js";

function failed(reason: TerminationReason, others: { exitCode?: number; signalName?: string } = {}): Job {
  const { exitCode, signalName = "" } = others;
  return create(JobSchema, {
    status: JobStatus.FAILED,
    ...(exitCode === undefined ? {} : { exitCode }),
    termination: { reason, signalName },
  });
}

test("a failed job says why in one or two words", () => {
  assert.equal(statusDetail(failed(TerminationReason.EXITED, { exitCode: 2 })), "exit 2");
  assert.equal(statusDetail(failed(TerminationReason.SIGNALED, { signalName: "SIGSEGV" })), "SIGSEGV");
  assert.equal(statusDetail(failed(TerminationReason.OOM_KILLED)), "out of memory");
  assert.equal(statusDetail(failed(TerminationReason.TIMED_OUT)), "timed out");
});

test("a queued job has its newest position", () => {
  const job = create(JobSchema, { status: JobStatus.QUEUED, queuePosition: 4 });
  assert.equal(statusDetail(job), "#4");
  assert.equal(statusDetail(job, 2), "#2");
});

test("a status of a newer server is shown as unknown", () => {
  assert.equal(statusStyle(99 as JobStatus).name, "Unknown");
});

test("only limits that are not in force are reported, with the server's reason", () => {
  const job = create(JobSchema, {
    appliedLimits: [
      { limit: Limit.MAX_CPU, inForce: true },
      { limit: Limit.MAX_IO_BPS, inForce: false, reason: "no io controller" },
      { limit: 99 as Limit, inForce: false },
    ],
  });
  assert.deepEqual(unenforced(job), [
    { name: "max io bps", inForce: false, reason: "no io controller" },
    { name: "unknown", inForce: false, reason: "" },
  ]);
});

test("an evicted job says so", () => {
  const termination = { reason: TerminationReason.EVICTED, signalName: "SIGTERM" };
  assert.equal(statusDetail(create(JobSchema, { status: JobStatus.STOPPED, termination })), "evicted");
});
