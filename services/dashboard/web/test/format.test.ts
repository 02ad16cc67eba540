import assert from "node:assert/strict";
import { test } from "node:test";
import { formatBytes } from "../src/ui/format.js";

test("sizes have the largest unit that keeps them at 1 or more", () => {
  assert.equal(formatBytes(0), "0 B");
  assert.equal(formatBytes(1023), "1023 B");
  assert.equal(formatBytes(1536n), "1.5 KiB");
  assert.equal(formatBytes(200 * 1024 * 1024), "200 MiB");
});
