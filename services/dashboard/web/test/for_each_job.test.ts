import assert from "node:assert/strict";
import { test } from "node:test";
import { forEachJob } from "../src/jobs/for_each_job.js";

test("each job is called once, also if some fail", async () => {
  const called: number[] = [];
  const errors = await forEachJob([1, 2, 3, 4, 5, 6, 7, 8, 9], async (job) => {
    called.push(job);
    if (job % 4 === 0) {
      throw new Error(`job ${job}`);
    }
  });
  assert.deepEqual(called.sort(), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
  assert.deepEqual(errors.map(String).sort(), ["Error: job 4", "Error: job 8"]);
});

test("only some calls are open at the same time", async () => {
  let open = 0;
  let most = 0;
  const jobs = Array.from({ length: 50 }, (_, index) => index);
  await forEachJob(jobs, async () => {
    open += 1;
    most = Math.max(most, open);
    await new Promise(setImmediate);
    open -= 1;
  });
  assert.ok(most > 1 && most < 10, `${most} open calls`);
});
