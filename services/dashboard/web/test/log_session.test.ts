import assert from "node:assert/strict";
import { test } from "node:test";
import type { Chunk } from "@jobworker/client/browser";
import { collectDownload } from "../src/log/download.js";
import { LogPages } from "../src/log/log_pages.js";
import { PageLoader } from "../src/log/page_loader.js";
import { locateLine, locateOffset, locateTime } from "../src/log/row_locator.js";
import { MissingPage, type Row, RowReader } from "../src/log/row_reader.js";
import { BOTH, ONLY_STDERR, STDERR, STDOUT } from "../src/log/source.js";
import { clipText, visibleText } from "../src/log/text_clip.js";

const bytes = (text: string) => new TextEncoder().encode(text);
const LINES = Array.from({ length: 90_000 }, (_, index) => `line ${index} of the output of a job`);
const OUTPUT = bytes(`${LINES.join("\n")}\n`);

/** The output from an offset on, in chunks whose borders are not those of pages. */
async function* outputFrom(offset: number): AsyncGenerator<Chunk, void, undefined> {
  for (let at = offset; at < OUTPUT.length; at += 100_000) {
    yield { data: OUTPUT.subarray(at, at + 100_000), offset: at, source: "stdout", time: new Date(at) };
  }
}

/** A log whose first pages are not in memory. */
function droppedLog(): LogPages {
  const log = new LogPages(2_000_000);
  for (let at = 0; at < OUTPUT.length; at += 50_000) {
    log.add(OUTPUT.subarray(at, at + 50_000), at, STDOUT, at);
  }
  assert.throws(() => new RowReader(log).rows(BOTH, 0, 1), MissingPage);
  return log;
}

test("a dropped page is loaded again with the same rows", async () => {
  const log = droppedLog();
  await new PageLoader(log, outputFrom).load(0);
  const rows = new RowReader(log).rows(BOTH, 0, 5000);
  assert.deepEqual(rows.map(visibleText), LINES.slice(0, 5000));
});

test("calls for the same page load it once", async () => {
  const log = droppedLog();
  let calls = 0;
  const loader = new PageLoader(log, (offset) => {
    calls += 1;
    return outputFrom(offset);
  });
  await Promise.all([loader.load(0), loader.load(0)]);
  assert.equal(calls, 1);
});

test("a page that the server has discarded is a gap with its rows", async () => {
  const log = droppedLog();
  const rows = log.rowCount(BOTH);
  async function* discarded(offset: number): AsyncGenerator<Chunk, void, undefined> {
    const truncated = { fromOffset: offset, toOffset: 400_000, reason: "Discarded." };
    yield { data: new Uint8Array(), offset, truncated };
    yield* outputFrom(400_000);
  }
  await new PageLoader(log, discarded).load(0);
  const [first] = new RowReader(log).rows(BOTH, 0, 1);
  assert.deepEqual(first, {
    kind: "gap",
    offset: 0,
    range: { fromOffset: 0, toOffset: 262_144, reason: "Discarded." },
  });
  assert.equal(log.rowCount(BOTH), rows);
});

test("a page that the server does not send is an error", async () => {
  const log = droppedLog();
  async function* nothing(): AsyncGenerator<Chunk, void, undefined> {}
  await assert.rejects(new PageLoader(log, nothing).load(0), /offset 0 to 262144/);
});

test("a failure to load a page does not prevent the next attempt", async () => {
  const log = droppedLog();
  let attempts = 0;
  const loader = new PageLoader(log, (offset) => {
    attempts += 1;
    if (attempts === 1) {
      throw new Error("no connection");
    }
    return outputFrom(offset);
  });
  await assert.rejects(loader.load(0), /no connection/);
  await loader.load(0);
  assert.equal(new RowReader(log).rows(BOTH, 0, 1).length, 1);
});

test("rows are found by offset, time and line", () => {
  const log = new LogPages();
  log.add(bytes("a\nbb\n"), 0, STDOUT, 1000);
  log.add(bytes("err\n"), 5, STDERR, 2000);
  log.add(bytes(`${"x".repeat(10_000)}\nlast\n`), 9, STDOUT, 3000);
  assert.deepEqual(
    [0, 1, 2, 4, 5, 9, 10_011].map((offset) => locateOffset(log, BOTH, offset)),
    [0, 0, 1, 1, 2, 3, 6],
  );
  assert.deepEqual(
    [0, 1000, 1001, 2500, 9000].map((time) => locateTime(log, BOTH, time)),
    [0, 0, 2, 3, 6],
  );
  assert.deepEqual(
    [1, 3, 4, 5, 99].map((line) => locateLine(log, BOTH, line)),
    [0, 2, 3, 6, 6],
  );
  assert.equal(locateLine(log, ONLY_STDERR, 3), 0);
});

test("rows are found in a log of many pages", () => {
  const log = new LogPages();
  for (let at = 0; at < OUTPUT.length; at += 50_000) {
    log.add(OUTPUT.subarray(at, at + 50_000), at, STDOUT, at);
  }
  assert.equal(locateLine(log, BOTH, 20_000), 19_999);
  const [row] = new RowReader(log).rows(BOTH, 20_000, 20_001) as [Row];
  assert.equal(locateOffset(log, BOTH, row.offset), 20_000);
  // The second page begins inside a line.
  const border = locateOffset(log, BOTH, 262_144);
  assert.ok((new RowReader(log).rows(BOTH, border, border + 1)[0] as Row).offset < 262_144);
});

test("the text of rows is fast and the same as row by row", () => {
  const log = new LogPages();
  log.add(OUTPUT, 0, STDOUT, 0);
  log.add(bytes("\x1b[31mred\x1b[0m\r\n"), log.end, STDOUT, 0);
  log.add(bytes("error\n"), log.end, STDERR, 0);
  const reader = new RowReader(log);
  const texts = reader.texts(BOTH, 0, log.rowCount(BOTH)).split("\n");
  assert.deepEqual(texts, [...LINES, "red", "error"]);
  assert.equal(reader.texts(BOTH, 89_998, 90_001), `${LINES[89_998]}\n${LINES[89_999]}\nred`);
});

test("a copied text has the selected columns, and joins the rows of a line", async () => {
  const log = new LogPages();
  log.add(bytes(`first\n${"x".repeat(5000)}\nlast\n`), 0, STDOUT, 0);
  const reader = new RowReader(log);
  const copy = (row: number, column: number, toRow: number, toColumn: number) =>
    clipText({ row, column }, { row: toRow, column: toColumn }, async (first, end) =>
      reader.rows(BOTH, first, end),
    );
  assert.equal(await copy(0, 2, 0, 4), "rs");
  assert.equal(await copy(0, 3, 3, 2), `st\n${"x".repeat(5000)}\nla`);
});

test("a selection that is too large is refused before it is read", async () => {
  const row = (offset: number) => ({ kind: "gap", offset, range: {} }) as Row;
  const rowsOf = async (first: number) => [row(first * 1_000_000)];
  await assert.rejects(clipText({ row: 0, column: 0 }, { row: 1000, column: 0 }, rowsOf), /32 MiB/);
});

test("a download has the original bytes, and counts the missing ones", async () => {
  async function* chunks(): AsyncGenerator<Chunk, void, undefined> {
    yield { data: Uint8Array.of(0xff, 0x0d), offset: 0, source: "stdout", time: new Date(0) };
    yield { data: new Uint8Array(), offset: 2, truncated: { fromOffset: 2, toOffset: 12, reason: "" } };
    yield { data: Uint8Array.of(0x1b), offset: 12, source: "stderr", time: new Date(0) };
  }
  const progress: number[] = [];
  const { blob, missing } = await collectDownload(chunks(), (size) => progress.push(size));
  assert.deepEqual(new Uint8Array(await blob.arrayBuffer()), Uint8Array.of(0xff, 0x0d, 0x1b));
  assert.equal(missing, 10);
  assert.deepEqual(progress, [3]);
});
