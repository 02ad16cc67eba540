import assert from "node:assert/strict";
import { test } from "node:test";
import { formatBytes, formatDuration, formatTime } from "../src/ui/format.js";
import { commonName } from "../src/ui/subject.js";

test("sizes have the largest unit that keeps them at 1 or more", () => {
  assert.equal(formatBytes(0), "0 B");
  assert.equal(formatBytes(1023), "1023 B");
  assert.equal(formatBytes(1536n), "1.5 KiB");
  assert.equal(formatBytes(200 * 1024 * 1024), "200 MiB");
});

test("durations have at most two units", () => {
  const second = 1000;
  const expected = new Map([
    [-5, "0ms"],
    [340, "340ms"],
    [1999, "1.9s"],
    [12 * second, "12s"],
    [65 * second, "1m 05s"],
    [3600 * second, "1h 00m"],
    [7500 * second, "2h 05m"],
    [90_000 * second, "1d 01h"],
  ]);
  for (const [ms, text] of expected) {
    assert.equal(formatDuration(ms), text);
  }
});

test("a time has its date only if that is not today", () => {
  const date = new Date(2026, 10, 26, 9, 5, 7);
  assert.equal(formatTime(date, new Date(2026, 10, 26, 23, 0, 0)), "09:05:07");
  assert.equal(formatTime(date, new Date(2026, 10, 27, 0, 0, 0)), "2026-11-26 09:05:07");
});

test("the common name of a subject is the name of its user", () => {
  assert.equal(commonName("CN=alice,OU=Admin,O=jobworker"), "alice");
  assert.equal(commonName("O=jobworker,CN=Smith\\, Anna"), "Smith, Anna");
  assert.equal(commonName("OU=Viewer"), "OU=Viewer");
});
