import assert from "node:assert/strict";
import { test } from "node:test";
import { MatchIndex } from "../src/log/match_index.js";
import { Matcher } from "../src/log/matcher.js";

const plain = { isRegex: false, matchCase: false };

test("a text matches itself, in any case", () => {
  assert.deepEqual(new Matcher({ ...plain, text: "a.c" }).ranges("abc a.c A.C"), [
    [4, 7],
    [8, 11],
  ]);
  assert.equal(new Matcher({ ...plain, text: "$^*()[]{}|\\/-?+" }).count("x$^*()[]{}|\\/-?+"), 1);
});

test("case matters if asked for", () => {
  assert.equal(new Matcher({ text: "Error", isRegex: false, matchCase: true }).count("error Error ERROR"), 1);
});

test("a regular expression finds each match of a row", () => {
  const matcher = new Matcher({ text: "^\\w+|\\d+$", isRegex: true, matchCase: true });
  assert.deepEqual(matcher.ranges("abc def 42"), [
    [0, 3],
    [8, 10],
  ]);
});

test("empty matches do not count", () => {
  assert.equal(new Matcher({ text: "x*", isRegex: true, matchCase: true }).count("axxb"), 1);
  assert.equal(new Matcher({ text: "", isRegex: true, matchCase: true }).count("abc"), 0);
});

test("an invalid regular expression is a SyntaxError", () => {
  assert.throws(() => new Matcher({ text: "(", isRegex: true, matchCase: true }), SyntaxError);
});

test("matches are numbered over all rows and wrap around", () => {
  const index = new MatchIndex();
  assert.equal(index.at(0), undefined);
  index.add(10, 2);
  index.add(5_000_000_000, 1);
  assert.equal(index.total, 3);
  assert.deepEqual(index.at(1), { ordinal: 1, row: 10, nth: 1 });
  assert.deepEqual(index.at(2), { ordinal: 2, row: 5_000_000_000, nth: 0 });
  assert.deepEqual(index.at(3), index.at(0));
  assert.deepEqual(index.at(-1), index.at(2));
});

test("rows at the end can be replaced", () => {
  const index = new MatchIndex();
  index.add(1, 2);
  index.add(5, 1);
  index.removeFrom(5);
  assert.equal(index.total, 2);
  index.add(5, 3);
  assert.equal(index.total, 5);
  assert.deepEqual(index.at(4), { ordinal: 4, row: 5, nth: 2 });
});

test("the next match from a row", () => {
  const index = new MatchIndex();
  for (let row = 0; row < 10_000; row += 10) {
    index.add(row, 3);
  }
  assert.deepEqual(index.from(0), { ordinal: 0, row: 0, nth: 0 });
  assert.deepEqual(index.from(11), { ordinal: 6, row: 20, nth: 0 });
  assert.deepEqual(index.from(20), { ordinal: 6, row: 20, nth: 0 });
  assert.deepEqual(index.from(9991), { ordinal: 0, row: 0, nth: 0 });
});
