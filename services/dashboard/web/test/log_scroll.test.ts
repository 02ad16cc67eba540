import assert from "node:assert/strict";
import { test } from "node:test";
import {
  contentHeight,
  MAX_HEIGHT,
  maxScroll,
  moveBy,
  positionAt,
  scrollTopOf,
} from "../src/log/scroll_map.js";

const small = { rows: 1000, rowHeight: 20, height: 500, isUniform: true };
const large = { rows: 1_000_001, rowHeight: 20, height: 500, isUniform: true };
const wrapped = { ...small, isUniform: false };

test("a short log scrolls pixel by pixel", () => {
  assert.equal(contentHeight(small), 20_000);
  assert.deepEqual(positionAt(small, 0), { row: 0, pixels: 0 });
  assert.deepEqual(positionAt(small, 130), { row: 6, pixels: 10 });
  assert.equal(scrollTopOf(small, { row: 6, pixels: 10 }), 130);
});

test("the scroll bar of a long log is bounded, and reaches both ends", () => {
  assert.equal(contentHeight(large), MAX_HEIGHT);
  assert.deepEqual(positionAt(large, 0), { row: 0, pixels: 0 });
  const last = positionAt(large, maxScroll(large));
  assert.equal(last.row * 20 + last.pixels, 1_000_001 * 20 - 500);
});

test("each place of the scroll bar has one position", () => {
  for (const range of [small, large, wrapped]) {
    for (const share of [0, 0.1, 0.5, 0.999, 1]) {
      const scrollTop = share * maxScroll(range);
      assert.ok(Math.abs(scrollTopOf(range, positionAt(range, scrollTop)) - scrollTop) < 1e-6);
    }
  }
});

test("a log that fits does not scroll", () => {
  const fits = { ...small, rows: 3 };
  assert.equal(maxScroll(fits), 0);
  assert.deepEqual(positionAt(fits, 0), { row: 0, pixels: 0 });
  assert.equal(scrollTopOf({ ...fits, isUniform: false }, { row: 1, pixels: 0 }), 0);
});

test("moving by pixels crosses rows of different heights", () => {
  const heightOf = (row: number) => (row % 2 ? 100 : 20);
  assert.deepEqual(moveBy({ row: 0, pixels: 0 }, 130, 10, heightOf), { row: 2, pixels: 10 });
  assert.deepEqual(moveBy({ row: 2, pixels: 10 }, -130, 10, heightOf), { row: 0, pixels: 0 });
  assert.deepEqual(moveBy({ row: 2, pixels: 10 }, -11, 10, heightOf), { row: 1, pixels: 99 });
  assert.deepEqual(moveBy({ row: 0, pixels: 5 }, -100, 10, heightOf), { row: 0, pixels: 0 });
  assert.deepEqual(moveBy({ row: 8, pixels: 0 }, 1000, 10, heightOf), { row: 9, pixels: 99 });
});
