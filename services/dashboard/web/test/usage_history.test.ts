import assert from "node:assert/strict";
import { test } from "node:test";
import { create, JobSchema, UsageSchema } from "@jobworker/client/browser";
import { averageCpu, UsageHistory } from "../src/job/usage_history.js";

const SECOND = 1_000_000n;

function usage(seconds: bigint, values: object = {}) {
  return create(UsageSchema, { wallUsec: seconds * SECOND, ...values });
}

test("rates are those between two measurements by the clock of the server", () => {
  const history = new UsageHistory();
  history.add(
    usage(10n, { cpuUserUsec: 0n, cpuSystemUsec: 0n, ioReadBytes: 100n, memoryCurrentBytes: 5n }),
    1000,
  );
  history.add(
    usage(12n, {
      cpuUserUsec: SECOND,
      cpuSystemUsec: 2n * SECOND,
      ioReadBytes: 4100n,
      memoryCurrentBytes: 7n,
      ioPressureSomeUsec: SECOND,
    }),
    1001,
  );
  const { times, cpu, read, written, memory, ioPressure } = history.series;
  assert.deepEqual(times, [1000, 1001]);
  assert.deepEqual(cpu, [null, 150]);
  assert.deepEqual(read, [null, 2000]);
  assert.deepEqual(memory, [5, 7]);
  assert.deepEqual(
    [written, ioPressure],
    [
      [null, null],
      [null, null],
    ],
  );
});

test("a measurement that is not newer is ignored", () => {
  const history = new UsageHistory();
  history.add(usage(10n), 1000);
  history.add(usage(10n), 1001);
  history.add(usage(9n), 1002);
  assert.deepEqual(history.series.times, [1000]);
});

test("a pause is a gap in the values", () => {
  const history = new UsageHistory();
  history.add(usage(10n, { memoryCurrentBytes: 1n }), 1000);
  history.add(usage(70n, { memoryCurrentBytes: 2n }), 1060);
  assert.deepEqual(history.series.times, [1000, 1030, 1060]);
  assert.deepEqual(history.series.memory, [1, null, 2]);
});

test("the history is bounded", () => {
  const history = new UsageHistory();
  for (let second = 1; second <= 4000; second += 1) {
    history.add(usage(BigInt(second)), second);
  }
  assert.equal(history.series.times.length, 3600);
  assert.equal(history.series.cpu.length, 3600);
  assert.equal(history.series.times.at(-1), 4000);
});

test("the average CPU use counts from the start of the job", () => {
  const total = usage(4n, { cpuUserUsec: SECOND, cpuSystemUsec: SECOND });
  assert.equal(averageCpu(create(JobSchema, { usage: total })), 50);
  assert.equal(averageCpu(create(JobSchema, {})), null);
});
