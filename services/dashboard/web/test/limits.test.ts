import assert from "node:assert/strict";
import { test } from "node:test";
import { create, JobSchema, Limit, timestampFromDate } from "@jobworker/client/browser";
import { enforced, limitRows } from "../src/job/limits.js";

const MIB = 1024n * 1024n;
const RATES = { cpu: 25, read: 1024, written: 4096 };

const JOB = create(JobSchema, {
  maxCpu: 50,
  maxMemory: 64,
  maxIoBps: 8192n,
  maxPids: 0,
  usage: { memoryCurrentBytes: 16n * MIB, memoryPeakBytes: 32n * MIB, pidsPeakCount: 3n },
  appliedLimits: [
    { limit: Limit.MAX_CPU, inForce: true, file: "cpu.max", value: "50000 100000" },
    { limit: Limit.MAX_MEMORY, inForce: false, reason: "the host has no memory controller" },
    { limit: Limit.CONTAINMENT, inForce: true },
    { limit: 99 as Limit, inForce: true, file: "new.max" },
  ],
});

test("a limit is compared with the usage", () => {
  const rows = new Map(limitRows(JOB, RATES).map((row) => [row.name, row]));
  assert.deepEqual(rows.get("CPU")?.use, { text: "25.0 %", share: 0.5 });
  assert.deepEqual(rows.get("Memory")?.use, { text: "16.0 MiB", share: 0.25 });
  assert.deepEqual(rows.get("I/O")?.use, { text: "4.0 KiB/s", share: 0.5 });
  assert.deepEqual(rows.get("Processes")?.use, { text: "3 peak", share: undefined });
});

test("a limit that is not in force has the reason, and one in force the control file", () => {
  const rows = new Map(limitRows(JOB, RATES).map((row) => [row.name, row]));
  assert.equal(rows.get("Memory")?.inForce, false);
  assert.equal(rows.get("Memory")?.reason, "the host has no memory controller");
  assert.equal(rows.get("CPU")?.evidence, "cpu.max: 50000 100000");
  assert.equal(rows.get("I/O")?.inForce, undefined);
});

test("limits that the job does not have are omitted, and unknown ones shown", () => {
  const names = limitRows(JOB, RATES).map((row) => row.name);
  assert.deepEqual(names, ["CPU", "Memory", "Processes", "I/O", "Containment", "Limit 99"]);
});

test("the use of a job that has ended is its average CPU and its peak memory", () => {
  const ended = create(JobSchema, {
    maxCpu: 100,
    maxMemory: 64,
    endTime: timestampFromDate(new Date(0)),
    usage: { memoryPeakBytes: 32n * MIB, wallUsec: 4n, cpuUserUsec: 1n, cpuSystemUsec: 0n },
  });
  const rows = new Map(limitRows(ended, RATES).map((row) => [row.name, row]));
  assert.deepEqual(rows.get("Memory")?.use, { text: "32.0 MiB peak", share: 0.5 });
  assert.deepEqual(rows.get("CPU")?.use, { text: "25.0 % average", share: 0.25 });
});

test("only a limit in force is drawn in the charts", () => {
  assert.equal(enforced(JOB, Limit.MAX_CPU, 50), 50);
  assert.equal(enforced(JOB, Limit.MAX_MEMORY, 64), undefined);
});
