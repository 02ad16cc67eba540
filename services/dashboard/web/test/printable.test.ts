import assert from "node:assert/strict";
import { test } from "node:test";
import { printable, printableLines } from "../src/ui/printable.js";

test("characters that control, reorder or hide text are escaped", () => {
  assert.equal(printable("a\x1b[31m\u202ecod.exe\u200b"), "a\\x1b[31m\\u202ecod.exe\\u200b");
  assert.equal(printable("tag \u{e0041} line\u2028end"), "tag \\U000e0041 line\\u2028end");
});

test("visible text does not change", () => {
  const text = "größe 日本語 👩\u200d💻 'quoted' \\n";
  assert.equal(printable(text), text);
});

test("lines and tabs are escaped only in text for one line", () => {
  assert.equal(printable("a\n\tb\r"), "a\\n\\tb\\r");
  assert.equal(printableLines("a\n\tb\r\u202e"), "a\n\tb\\r\\u202e");
});
