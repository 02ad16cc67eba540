import assert from "node:assert/strict";
import { test } from "node:test";
import { parseCpu, parseDuration, parseInteger, parseSize } from "../src/create/quantities.js";

test("sizes have binary units, and a default one", () => {
  const sizes = new Map([
    ["512", 512 * 2 ** 20],
    ["512 MiB", 512 * 2 ** 20],
    ["1.5G", 1.5 * 2 ** 30],
    ["100kb", 100 * 2 ** 10],
    ["7 B", 7],
  ]);
  for (const [text, value] of sizes) {
    assert.deepEqual(parseSize(text, "m"), { value, error: "" });
  }
});

test("durations can have several units, and seconds are the default", () => {
  const durations = new Map([
    ["90", 90_000],
    ["0.5", 500],
    ["250ms", 250],
    ["1h 30m", 5_400_000],
    ["1d2h", 93_600_000],
  ]);
  for (const [text, value] of durations) {
    assert.deepEqual(parseDuration(text), { value, error: "" });
  }
});

test("a share of the CPU is percent of one core, as for the command", () => {
  const shares = new Map([
    ["150", 150],
    ["25%", 25],
    ["1.5c", 150],
    ["2 cores", 200],
    ["1500m", 150],
  ]);
  for (const [text, value] of shares) {
    assert.deepEqual(parseCpu(text), { value, error: "" });
  }
});

test("an empty text has neither a value nor an error", () => {
  for (const parse of [parseDuration, parseCpu, parseInteger, (text: string) => parseSize(text, "m")]) {
    assert.deepEqual(parse(" "), { value: undefined, error: "" });
  }
});

test("other texts are errors with an example of a valid one", () => {
  assert.match(parseSize("1 parsec", "m").error, /512 MiB/);
  assert.match(parseDuration("soon").error, /90s/);
  assert.match(parseDuration("1h x").error, /90s/);
  assert.match(parseCpu("-1").error, /1\.5c/);
  assert.match(parseCpu("1.5").error, /1\.5c/, "percent or cores?");
  assert.match(parseInteger("1.5").error, /whole/);
});
