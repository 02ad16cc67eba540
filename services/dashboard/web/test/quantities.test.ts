import assert from "node:assert/strict";
import { test } from "node:test";
import { parseCores, parseDuration, parseInteger, parseSize } from "../src/create/quantities.js";

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

test("cores become percent of one core", () => {
  assert.equal(parseCores("1.5").value, 150);
  assert.equal(parseCores("2 cores").value, 200);
  assert.equal(parseCores("25%").value, 25);
});

test("an empty text has neither a value nor an error", () => {
  for (const parse of [parseDuration, parseCores, parseInteger, (text: string) => parseSize(text, "m")]) {
    assert.deepEqual(parse(" "), { value: undefined, error: "" });
  }
});

test("other texts are errors with an example of a valid one", () => {
  assert.match(parseSize("1 parsec", "m").error, /512 MiB/);
  assert.match(parseDuration("soon").error, /90s/);
  assert.match(parseDuration("1h x").error, /90s/);
  assert.match(parseCores("-1").error, /1\.5/);
  assert.match(parseInteger("1.5").error, /whole/);
});
