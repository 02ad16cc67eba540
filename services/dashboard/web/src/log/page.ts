/** A page: a contiguous part of the log, with its rows. Its bytes can be dropped and loaded again. */
import type { TruncatedRange } from "@jobworker/client/browser";
import { bisect } from "./bisect.js";
import { EscapeParser, type ParserState } from "./escape_parser.js";
import type { RowSink, SplitState } from "./row_splitter.js";
import { BOTH, type Filter, type SourceIndex, STDOUT, selects } from "./source.js";
import { NOT_PLAIN } from "./visible.js";

export const PAGE_BYTES = 262_144;
const FIRST_BYTES = 8192;
const ESC = 0x1b;

// A row and a run are numbers: the position in the page, and these bits.
const SOURCE_BIT = 1;
const CONTINUED_BIT = 2;
const ROW_BITS = 4;
const RUN_BITS = 2;
// Memory per row and per run, in bytes, at most.
const ROW_COST = 8;
const RUN_COST = 16;

/** The state at the beginning of a page, which the output before it has set. */
export interface PageEntry {
  readonly split: SplitState;
  readonly parsers: readonly [ParserState, ParserState];
}

/** The bytes of a page, the runs of one source and one time, and the beginnings of rows. */
export class PageContent implements RowSink {
  readonly from: number;
  length = 0;
  #bytes = new Uint8Array(FIRST_BYTES);
  readonly #runs: number[] = [];
  readonly #times: number[] = [];
  readonly #rows: number[] = [];
  #states: ParserState[] | undefined;
  // Bit 0 = there is output of stdout, bit 1 = of stderr.
  #sources = 0;
  #hasContinued = false;

  constructor(from: number) {
    this.from = from;
  }

  get bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.length);
  }

  get rowCount(): number {
    return this.#rows.length;
  }

  /** The approximate memory that the content takes, in bytes. */
  get cost(): number {
    return this.#bytes.length + this.#rows.length * ROW_COST + this.#runs.length * RUN_COST;
  }

  /** Appends output, up to the size of a page. A `RowSplitter` adds its rows. */
  add(data: Uint8Array, source: SourceIndex, time: number): void {
    this.#reserve(this.length + data.length);
    this.#bytes.set(data, this.length);
    if (this.#times.at(-1) !== time || ((this.#runs.at(-1) as number) & SOURCE_BIT) !== source) {
      this.#runs.push(this.length * RUN_BITS + source);
      this.#times.push(time);
    }
    this.#sources |= 1 << source;
    this.length += data.length;
    this.#states = undefined;
  }

  startRow(offset: number, source: SourceIndex, continued: boolean): void {
    this.#hasContinued ||= continued;
    this.#rows.push((offset - this.from) * ROW_BITS + source + (continued ? CONTINUED_BIT : 0));
  }

  restartRow(): void {
    // `LogPages` records it, because the row can be in an earlier page.
  }

  rowOffset(row: number): number {
    return this.from + Math.floor((this.#rows[row] as number) / ROW_BITS);
  }

  rowSource(row: number): SourceIndex {
    return ((this.#rows[row] as number) & SOURCE_BIT) as SourceIndex;
  }

  rowContinued(row: number): boolean {
    return ((this.#rows[row] as number) & CONTINUED_BIT) !== 0;
  }

  /** Returns the last row that begins at or before the offset, or -1. */
  rowAt(offset: number): number {
    return bisect(this.rowCount, (row) => this.rowOffset(row) > offset) - 1;
  }

  /** Returns the position in the page of the nth row that the filter selects. */
  selectedRow(filter: Filter, nth: number): number {
    if (filter === BOTH) {
      return nth;
    }
    let left = nth;
    for (let row = 0; row < this.rowCount; row += 1) {
      if (selects(filter, this.rowSource(row))) {
        if (left === 0) {
          return row;
        }
        left -= 1;
      }
    }
    throw new RangeError(`the page has no row ${nth} of the filter ${filter}`);
  }

  /** Counts the rows before `row` that are beginnings of lines. */
  linesBefore(row: number): number {
    let lines = 0;
    for (let at = 0; at < row; at += 1) {
      lines += Number(!this.rowContinued(at));
    }
    return lines;
  }

  /** Counts the rows before `row` that the filter selects. */
  selectedBefore(filter: Filter, row: number): number {
    if (filter === BOTH) {
      return row;
    }
    let count = 0;
    for (let at = 0; at < row; at += 1) {
      count += Number(selects(filter, this.rowSource(at)));
    }
    return count;
  }

  timeAt(offset: number): number {
    return this.#times[this.#runAt(offset)] ?? 0;
  }

  /** Yields the bytes of one source between two offsets. */
  *pieces(source: SourceIndex, from: number, to: number): Generator<Uint8Array, void, undefined> {
    const end = Math.min(to - this.from, this.length);
    for (let run = this.#runAt(from); run < this.#runs.length; run += 1) {
      const begin = Math.max(this.#runBegin(run), from - this.from);
      if (begin >= end) {
        return;
      }
      if (((this.#runs[run] as number) & SOURCE_BIT) === source) {
        yield this.#bytes.subarray(begin, Math.min(end, this.#runEnd(run)));
      }
    }
  }

  /** Returns the state of the escape sequences at the beginning of a row. */
  rowState(row: number, entry: PageEntry): ParserState {
    if (!this.#states) {
      this.#states = isSettled(entry) && !this.bytes.includes(ESC) ? [] : this.#allStates(entry);
    }
    return this.#states[row] ?? entry.parsers[this.rowSource(row)];
  }

  /**
   * Returns the texts of the rows from `first` up to `end`, which is a row of the page, too, or undefined if this needs
   * more than decoding. It is much faster than reading row by row.
   */
  plainText(first: number, end: number, entry: PageEntry): string | undefined {
    if (end <= first || !this.#isSimple(entry)) {
      return undefined;
    }
    const bytes = this.#bytes.subarray(
      this.rowOffset(first) - this.from,
      this.rowOffset(end) - this.from - 1,
    );
    const text = decoder.decode(bytes);
    return NOT_PLAIN.test(text) ? undefined : text;
  }

  /** Reports whether each row is a contiguous line without a style. */
  #isSimple(entry: PageEntry): boolean {
    return this.#sources < 3 && !this.#hasContinued && isSettled(entry);
  }

  #allStates(entry: PageEntry): ParserState[] {
    const parsers = [new EscapeParser(entry.parsers[0]), new EscapeParser(entry.parsers[1])];
    const states: ParserState[] = [];
    for (let run = 0; run < this.#runs.length; run += 1) {
      const parser = parsers[(this.#runs[run] as number) & SOURCE_BIT] as EscapeParser;
      let at = this.#runBegin(run);
      const end = this.#runEnd(run);
      while (states.length < this.rowCount && this.rowOffset(states.length) - this.from < end) {
        const begin = this.rowOffset(states.length) - this.from;
        parser.feed(this.#bytes.subarray(at, begin));
        states.push(parser.state);
        at = begin;
      }
      parser.feed(this.#bytes.subarray(at, end));
    }
    return states;
  }

  #reserve(size: number): void {
    if (size > this.#bytes.length) {
      const larger = new Uint8Array(Math.min(PAGE_BYTES, Math.max(size, 2 * this.#bytes.length)));
      larger.set(this.bytes);
      this.#bytes = larger;
    }
  }

  #runAt(offset: number): number {
    const runs = this.#runs.length;
    return Math.max(0, bisect(runs, (run) => this.#runBegin(run) > offset - this.from) - 1);
  }

  #runBegin(run: number): number {
    return Math.floor((this.#runs[run] as number) / RUN_BITS);
  }

  #runEnd(run: number): number {
    return run + 1 < this.#runs.length ? this.#runBegin(run + 1) : this.length;
  }
}

/** Reports whether no sequence and no link is open at the beginning of a page. */
function isSettled(entry: PageEntry): boolean {
  return entry.parsers.every((parser) => parser.mode === 0 && parser.link === "");
}

const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** The part of a page that stays in memory while its content is dropped. */
export interface Page {
  readonly from: number;
  to: number;
  /** When the server read its first byte, in milliseconds since the epoch. */
  readonly time: number;
  /** Rows before the page, and in the page, for each filter. */
  readonly before: readonly [number, number, number];
  readonly rows: [number, number, number];
  /** Lines before the page. */
  readonly linesBefore: number;
  /** The offset of the first row of each source. */
  readonly firstRow: [number | undefined, number | undefined];
  readonly entry: PageEntry;
  content: PageContent | undefined;
  /** The page stands for output that the server does not have. */
  gap: TruncatedRange | undefined;
}

export function newPage(
  from: number,
  time: number,
  counts: { before: readonly [number, number, number]; lines: number },
  entry: PageEntry,
): Page {
  return {
    from,
    to: from,
    time,
    before: counts.before,
    rows: [0, 0, 0],
    linesBefore: counts.lines,
    firstRow: [undefined, undefined],
    entry,
    content: new PageContent(from),
    gap: undefined,
  };
}

export function countRow(page: Page, offset: number, source: SourceIndex): void {
  page.rows[BOTH] += 1;
  page.rows[source === STDOUT ? 1 : 2] += 1;
  page.firstRow[source] ??= offset;
}
