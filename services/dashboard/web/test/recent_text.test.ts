import assert from "node:assert/strict";
import { test } from "node:test";
import { RecentText } from "../src/attach/recent_text.js";

function textOf(...parts: (string | Uint8Array)[]): string {
  const recent = new RecentText();
  for (const part of parts) {
    recent.add(typeof part === "string" ? new TextEncoder().encode(part) : part);
  }
  return recent.text;
}

test("escape sequences are removed, even if they arrive in pieces", () => {
  assert.equal(textOf("\x1b[1;31mred\x1b[0m \x1b]8;;javascript:alert(1)\x1b\\link\x1b]8;;\x07"), "red link");
  assert.equal(textOf("a\x1b[3", "1mb"), "ab");
});

test("characters that control or reorder text are visible", () => {
  assert.equal(textOf("a\x07b\r\nc\rd\u202ee"), "a\\x07b\nc\\rd\\u202ee");
});

test("a character can arrive in pieces", () => {
  assert.equal(textOf(new Uint8Array([0xc3]), new Uint8Array([0xa4])), "ä");
});

test("only the end of the output is kept", () => {
  const text = textOf("x".repeat(300_000), "end");
  assert.equal(text.length, 256 * 1024);
  assert.ok(text.endsWith("xend"));
});
