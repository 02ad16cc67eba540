import assert from "node:assert/strict";
import { test } from "node:test";
import { LogPages } from "../src/log/log_pages.js";
import { PageContent } from "../src/log/page.js";
import { MissingPage, type OutputRow, RowReader } from "../src/log/row_reader.js";
import { RowSplitter } from "../src/log/row_splitter.js";
import { BOTH, ONLY_STDERR, ONLY_STDOUT, type SourceIndex, STDERR, STDOUT } from "../src/log/source.js";

const bytes = (text: string) => new TextEncoder().encode(text);
const textOf = (row: unknown) => (row as OutputRow).spans.map((span) => span.text).join("");

/** A log with the given output. Each piece is read one second after the one before. */
function logOf(pieces: [string | Uint8Array, SourceIndex][], limit?: number): LogPages {
  const log = new LogPages(limit);
  pieces.forEach(([piece, source], index) => {
    log.add(typeof piece === "string" ? bytes(piece) : piece, log.end, source, index * 1000);
  });
  return log;
}

function texts(log: LogPages, filter: 0 | 1 | 2 = BOTH): string[] {
  return new RowReader(log).rows(filter, 0, log.rowCount(filter)).map(textOf);
}

test("rows have a line number, an offset, a source and a time", () => {
  const log = logOf([
    ["one\ntw", STDOUT],
    ["oops\n", STDERR],
    ["o\nthree", STDOUT],
  ]);
  const rows = new RowReader(log).rows(BOTH, 0, 10) as OutputRow[];
  assert.deepEqual(
    rows.map((row) => [row.line, row.offset, row.source, row.time, textOf(row), row.open]),
    [
      [1, 0, STDOUT, 0, "one", false],
      [2, 4, STDOUT, 0, "two", false],
      [3, 6, STDERR, 1000, "oops", false],
      [4, 13, STDOUT, 2000, "three", true],
    ],
  );
});

test("the last row is open until its line ends", () => {
  const log = logOf([["one\ntwo", STDOUT]]);
  assert.deepEqual([log.isLastOpen(BOTH), log.isLastOpen(ONLY_STDERR)], [true, false]);
  log.add(bytes("err\n"), log.end, STDERR, 0);
  assert.deepEqual([log.isLastOpen(BOTH), log.isLastOpen(ONLY_STDOUT)], [false, true]);
});

test("a filter selects the rows of one stream", () => {
  const log = logOf([
    ["a\n", STDOUT],
    ["b\nc\n", STDERR],
    ["d\n", STDOUT],
  ]);
  assert.deepEqual(texts(log, ONLY_STDOUT), ["a", "d"]);
  assert.deepEqual(texts(log, ONLY_STDERR), ["b", "c"]);
  assert.deepEqual(
    (new RowReader(log).rows(ONLY_STDOUT, 1, 2) as OutputRow[]).map((row) => row.line),
    [4],
  );
});

test("rows over page borders, in pieces of any size", () => {
  const lines = Array.from({ length: 40_000 }, (_, index) => `line ${index} ${"x".repeat(index % 40)}`);
  const whole = bytes(`${lines.join("\n")}\n`);
  for (const size of [1000, 262_144, 300_001]) {
    const pieces: [Uint8Array, SourceIndex][] = [];
    for (let at = 0; at < whole.length; at += size) {
      pieces.push([whole.subarray(at, at + size), STDOUT]);
    }
    const log = logOf(pieces);
    assert.ok(log.pages.length > 3);
    assert.deepEqual(texts(log), lines);
  }
});

test("a style continues in the next rows, at any place of the log", () => {
  const log = logOf([
    [`\x1b[31m${"red\n".repeat(100_000)}`, STDOUT],
    ["plain\n", STDERR],
    ["still red\n", STDOUT],
  ]);
  const rows = new RowReader(log);
  const foregrounds = (rows.rows(BOTH, 99_999, 100_002) as OutputRow[]).map(
    (row) => row.spans[0]?.style.foreground,
  );
  assert.deepEqual(foregrounds, [1, -1, 1]);
});

test("a line without an end is divided, and its parts have one line number", () => {
  const log = logOf([
    [`first\n${"x".repeat(1_000_000)}`, STDOUT],
    ["\nlast\n", STDOUT],
  ]);
  const rows = new RowReader(log).rows(BOTH, 0, 1000) as OutputRow[];
  assert.equal(rows.length, 2 + Math.ceil(1_000_000 / 4096));
  assert.deepEqual([rows[1]?.line, rows[2]?.line, rows.at(-2)?.line, rows.at(-1)?.line], [2, 2, 2, 3]);
  assert.equal(rows[2]?.continued, true);
  assert.equal(
    rows.slice(1, -1).reduce((length, row) => length + textOf(row).length, 0),
    1_000_000,
  );
});

test("a progress bar of megabytes shows its last state", () => {
  const bar = Array.from({ length: 200_000 }, (_, index) => `\r${index + 1} of 200000`).join("");
  const log = logOf([
    [bar, STDOUT],
    ["\ndone\n", STDOUT],
  ]);
  assert.deepEqual(texts(log), ["200000 of 200000", "done"]);
});

test("a gap is a row in each selection, and ends the open rows", () => {
  const log = logOf([["begin of a li", STDOUT]]);
  log.addGap({ fromOffset: 13, toOffset: 113, reason: "The disk was full." });
  log.add(bytes("ne\nnext\n"), 113, STDOUT, 5000);
  const rows = new RowReader(log).rows(BOTH, 0, 10);
  assert.deepEqual(
    rows.map((row) => (row.kind === "gap" ? row.range : textOf(row))),
    ["begin of a li", { fromOffset: 13, toOffset: 113, reason: "The disk was full." }, "ne", "next"],
  );
  assert.equal(log.rowCount(ONLY_STDERR), 1);
  assert.equal(log.end, 121);
});

test("a log that begins with a gap", () => {
  const log = new LogPages();
  log.addGap({ fromOffset: 0, toOffset: 1_000_000, reason: "Discarded." });
  log.add(bytes("kept\n"), 1_000_000, STDOUT, 0);
  const [gap, kept] = new RowReader(log).rows(BOTH, 0, 2);
  assert.equal(gap?.kind, "gap");
  assert.equal(textOf(kept), "kept");
});

test("memory is bounded, and a page that is loaded again has the same rows", () => {
  const line = (index: number) => `${index} \x1b[3${index % 8}m${"é".repeat(index % 50)}`;
  const output = bytes(`${Array.from({ length: 60_000 }, (_, index) => line(index)).join("\n")}\n`);
  const log = logOf([[output, STDOUT]], 600_000);
  assert.ok(log.residentBytes < 900_000, `${log.residentBytes} bytes`);
  const reader = new RowReader(log);
  assert.throws(() => reader.rows(BOTH, 0, 1), MissingPage);
  for (let index = 0; index < 2; index += 1) {
    const page = log.pages[index] as (typeof log.pages)[0];
    const content = new PageContent(page.from);
    const data = output.subarray(page.from, page.to);
    new RowSplitter(page.entry.split).add(data, page.from, STDOUT, content);
    content.add(data, STDOUT, 0);
    log.restore(page, content);
  }
  const rows = reader.rows(BOTH, 5000, 5010) as OutputRow[];
  const expected = logOf([[output, STDOUT]]);
  assert.deepEqual(rows, new RowReader(expected).rows(BOTH, 5000, 5010));
  assert.throws(() => reader.rows(BOTH, log.rowCount(BOTH) / 2, log.rowCount(BOTH)), MissingPage);
});

test("output of two streams byte by byte", () => {
  const log = new LogPages();
  for (let index = 0; index < 3000; index += 1) {
    log.add(bytes(index % 10 === 9 ? "\n" : "o"), log.end, STDOUT, 0);
    log.add(bytes(index % 7 === 6 ? "\n" : "e"), log.end, STDERR, 0);
  }
  assert.deepEqual(new Set(texts(log, ONLY_STDOUT)), new Set(["ooooooooo"]));
  assert.deepEqual(new Set(texts(log, ONLY_STDERR)), new Set(["eeeeee", "eeee"]));
});
