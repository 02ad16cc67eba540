import assert from "node:assert/strict";
import { test } from "node:test";
import { chartData } from "../src/job/chart_data.js";

function line(...values: (number | null)[]) {
  return { name: "CPU", color: "--accent", values } as const;
}

test("the limit is a line if the values come near it", () => {
  assert.deepEqual(chartData([1, 2], [line(null, 25)], 100), [
    [1, 2],
    [null, 25],
    [100, 100],
  ]);
});

test("a limit that is far from the values, or does not exist, is not drawn", () => {
  assert.deepEqual(chartData([1, 2], [line(1, 24), line(3, null)], 100), [
    [1, 2],
    [1, 24],
    [3, null],
    [null, null],
  ]);
  assert.deepEqual(chartData([1], [line(25)], undefined), [[1], [25], [null]]);
});
