import assert from "node:assert/strict";
import { test } from "node:test";
import { MAX_ROW, type RowSink, RowSplitter } from "../src/log/row_splitter.js";
import { type SourceIndex, STDERR, STDOUT } from "../src/log/source.js";

type Row = [offset: number, source: SourceIndex, continued: boolean];

class Rows implements RowSink {
  readonly rows: Row[] = [];
  readonly restarts: number[] = [];

  startRow(...row: Row): void {
    this.rows.push(row);
  }

  restartRow(offset: number): void {
    this.restarts.push(offset);
  }
}

const bytes = (text: string) => new TextEncoder().encode(text);

function split(...pieces: [Uint8Array, SourceIndex][]): Rows {
  const rows = new Rows();
  const splitter = new RowSplitter();
  let offset = 0;
  for (const [piece, source] of pieces) {
    splitter.add(piece, offset, source, rows);
    offset += piece.length;
  }
  return rows;
}

test("each line is a row", () => {
  assert.deepEqual(split([bytes("one\n\ntwo\nthree"), STDOUT]).rows, [
    [0, STDOUT, false],
    [4, STDOUT, false],
    [5, STDOUT, false],
    [9, STDOUT, false],
  ]);
});

test("output of the other stream does not break a line", () => {
  const rows = split([bytes("out "), STDOUT], [bytes("err\n"), STDERR], [bytes("put\nnext"), STDOUT]).rows;
  assert.deepEqual(rows, [
    [0, STDOUT, false],
    [4, STDERR, false],
    [12, STDOUT, false],
  ]);
});

test("a line that the other stream interrupts for very long is continued in another row", () => {
  const rows = split(
    [bytes("out "), STDOUT],
    [new Uint8Array(200_000).fill(10), STDERR],
    [bytes("put\n"), STDOUT],
  );
  assert.deepEqual(rows.rows.at(-1), [200_004, STDOUT, true]);
});

test("a very long line is divided between characters", () => {
  const rows = split([bytes("a".repeat(MAX_ROW - 1) + "é".repeat(MAX_ROW)), STDOUT]).rows;
  assert.deepEqual(rows, [
    [0, STDOUT, false],
    [MAX_ROW + 1, STDOUT, true],
    [2 * MAX_ROW + 1, STDOUT, true],
  ]);
});

test("bytes that continue no character do not make a row longer", () => {
  const rows = split([new Uint8Array(3 * MAX_ROW).fill(0x80), STDOUT]).rows;
  assert.deepEqual(
    rows.map(([offset]) => offset),
    [0, MAX_ROW + 3, 2 * (MAX_ROW + 3)],
  );
});

test("the end of a line is not a separate row", () => {
  assert.equal(split([bytes(`${"a".repeat(MAX_ROW)}\r\nb`), STDOUT]).rows.length, 2);
});

test("a progress bar of any length is one row, and only its end is kept", () => {
  const bar = Array.from({ length: 20_000 }, (_, index) => `\r${index} of 20000`).join("");
  const rows = split([bytes(`${bar}\n`), STDOUT]);
  assert.equal(rows.rows.length, 1);
  assert.ok(rows.restarts.length > 5);
  assert.ok(bar.length - (rows.restarts.at(-1) ?? 0) < 40_000);
});

test("the rows do not depend on the chunks", () => {
  const out = bytes(
    `${"é".repeat(3000)}x\n${"\rprogress".repeat(9000)}\n\n${"y".repeat(10_000)}\r\n${"z\x80".repeat(5000)}`,
  );
  const whole = split([out, STDOUT]);
  for (const size of [1, 2, 3, 7, 4095, 4096, 4097, 50_000]) {
    const pieces: [Uint8Array, SourceIndex][] = [];
    for (let at = 0; at < out.length; at += size) {
      pieces.push([out.subarray(at, at + size), STDOUT]);
    }
    const parts = split(...pieces);
    assert.deepEqual(parts.rows, whole.rows, `chunks of ${size}`);
    assert.deepEqual(parts.restarts, whole.restarts, `chunks of ${size}`);
  }
});

test("a splitter continues from a state", () => {
  const text = bytes(`${"a".repeat(5000)}\nb\r\nc`);
  for (const at of [0, 1, 4096, 4097, 5001, 5003, text.length]) {
    const rows = new Rows();
    const first = new RowSplitter();
    first.add(text.subarray(0, at), 0, STDOUT, rows);
    new RowSplitter(first.state).add(text.subarray(at), at, STDOUT, rows);
    assert.deepEqual(rows.rows, split([text, STDOUT]).rows, `split at ${at}`);
  }
});
