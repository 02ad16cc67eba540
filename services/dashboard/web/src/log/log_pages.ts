/** The rows of a log of any size. Memory is bounded: pages that were not used for the longest time lose their bytes. */
import type { TruncatedRange } from "@jobworker/client/browser";
import { bisect } from "./bisect.js";
import { EscapeParser } from "./escape_parser.js";
import { countRow, newPage, PAGE_BYTES, type Page, type PageContent, type PageEntry } from "./page.js";
import { type RowSink, RowSplitter } from "./row_splitter.js";
import { BOTH, type Filter, type SourceIndex } from "./source.js";

const RESIDENT_BYTES = 192 * 1024 * 1024;

/** The place of a row: an index of `pages`, and a row of this page. A page that is a gap has one row. */
export interface Place {
  readonly page: number;
  readonly row: number;
}

export class LogPages implements RowSink {
  readonly pages: Page[] = [];
  readonly #limit: number;
  #splitter = new RowSplitter();
  #parsers: [EscapeParser, EscapeParser] = [new EscapeParser(), new EscapeParser()];
  // Lines of each source.
  readonly #lines: [number, number] = [0, 0];
  // Rows whose beginning is overwritten and too long to read: the offset of the row, and the offset of the rest.
  readonly #restarts = new Map<number, number>();
  readonly #lastRow: [number, number] = [0, 0];
  // Pages with content; the one that was used last is last.
  readonly #resident = new Map<Page, number>();
  #residentBytes = 0;

  constructor(limit = RESIDENT_BYTES) {
    this.#limit = limit;
  }

  /** The offset after the last byte. */
  get end(): number {
    return this.pages.at(-1)?.to ?? 0;
  }

  get residentBytes(): number {
    return this.#residentBytes;
  }

  rowCount(filter: Filter): number {
    const last = this.pages.at(-1);
    return last ? last.before[filter] + last.rows[filter] : 0;
  }

  /** Returns the number of lines, of which a row can be only a part. */
  lineCount(filter: Filter): number {
    const [stdout, stderr] = this.#lines;
    return filter === BOTH ? stdout + stderr : (this.#lines[filter - 1] as number);
  }

  /** Appends output. `offset` is `end`, except for the first output of all. */
  add(data: Uint8Array, offset: number, source: SourceIndex, time: number): void {
    for (let at = 0; at < data.length; ) {
      const page = this.#pageWithSpace(offset + at, time);
      const content = page.content as PageContent;
      const piece = data.subarray(at, at + PAGE_BYTES - content.length);
      this.#splitter.add(piece, offset + at, source, this);
      this.#parsers[source].feed(piece);
      content.add(piece, source, time);
      at += piece.length;
      page.to = offset + at;
      this.use(page);
    }
  }

  /** Appends a range that the server does not have. Rows that were open end before it. */
  addGap(gap: TruncatedRange): void {
    const page = this.#append(gap.fromOffset, this.pages.at(-1)?.time ?? 0);
    page.gap = gap;
    page.content = undefined;
    page.to = gap.toOffset;
    page.rows.fill(1);
    this.#splitter = new RowSplitter();
    this.#parsers = [new EscapeParser(), new EscapeParser()];
  }

  /** Returns the place of the nth row that the filter selects. The content of the page must be in memory. */
  place(filter: Filter, nth: number): Place {
    const index = this.pageOfRow(filter, nth);
    const page = this.pages[index] as Page;
    const inPage = nth - page.before[filter];
    return { page: index, row: page.content?.selectedRow(filter, inPage) ?? inPage };
  }

  /** Returns the page with the nth row that the filter selects. */
  pageOfRow(filter: Filter, nth: number): number {
    return bisect(this.pages.length, (page) => (this.pages[page] as Page).before[filter] > nth) - 1;
  }

  /** Returns the page with the offset, or the nearest one. */
  pageOfOffset(offset: number): number {
    return Math.max(0, bisect(this.pages.length, (page) => (this.pages[page] as Page).from > offset) - 1);
  }

  /** Returns the last page that begins before the time. The time of a page can be before that of an earlier one. */
  pageOfTime(time: number): number {
    return Math.max(0, bisect(this.pages.length, (page) => (this.pages[page] as Page).time >= time) - 1);
  }

  /** Returns the number of a row among those that the filter selects. */
  rowNumber(filter: Filter, { page, row }: Place): number {
    const { before, content } = this.pages[page] as Page;
    return before[filter] + (content?.selectedBefore(filter, row) ?? 0);
  }

  /** Returns the offset of the part of a row that is not overwritten. */
  readOffset(rowOffset: number): number {
    return this.#restarts.get(rowOffset) ?? rowOffset;
  }

  /** Reports whether output can still be added to the last row of a source. */
  isOpen(source: SourceIndex, rowOffset: number): boolean {
    return this.#lastRow[source] === rowOffset && this.#splitter.isOpen(source);
  }

  /** Reports whether output can still be added to the last row that the filter selects. */
  isLastOpen(filter: Filter): boolean {
    const [stdout, stderr] = this.#lastRow;
    const source = filter === BOTH ? Number(stderr > stdout) : filter - 1;
    return this.#splitter.isOpen(source as SourceIndex);
  }

  /** Marks a page as used now, and drops the content of others if there is too much. */
  use(page: Page): void {
    this.#forget(page);
    this.#resident.set(page, page.content?.cost ?? 0);
    this.#residentBytes += page.content?.cost ?? 0;
    for (const oldest of this.#resident.keys()) {
      if (this.#residentBytes <= this.#limit || oldest === page) {
        break;
      }
      if (oldest !== this.pages.at(-1)) {
        this.#forget(oldest);
        oldest.content = undefined;
      }
    }
  }

  /** Takes the content of a page that was loaded again. */
  restore(page: Page, content: PageContent): void {
    page.content = content;
    this.use(page);
  }

  /** Records that the server no longer has the content of a page. Its rows stay, without their text. */
  lose(page: Page, reason: string): void {
    page.gap = { fromOffset: page.from, toOffset: page.to, reason };
  }

  startRow(offset: number, source: SourceIndex, continued: boolean): void {
    const page = this.pages.at(-1) as Page;
    page.content?.startRow(offset, source, continued);
    countRow(page, offset, source);
    this.#lines[source] += Number(!continued);
    this.#lastRow[source] = offset;
  }

  restartRow(offset: number, source: SourceIndex): void {
    this.#restarts.set(this.#lastRow[source], offset);
  }

  #pageWithSpace(offset: number, time: number): Page {
    const last = this.pages.at(-1);
    const hasSpace = last?.content && !last.gap && last.to === offset && last.content.length < PAGE_BYTES;
    return hasSpace ? last : this.#append(offset, time);
  }

  #append(from: number, time: number): Page {
    const last = this.pages.at(-1);
    const before = [0, 1, 2].map((filter) =>
      last ? (last.before[filter] as number) + (last.rows[filter] as number) : 0,
    );
    const entry: PageEntry = {
      split: this.#splitter.state,
      parsers: [this.#parsers[0].state, this.#parsers[1].state],
    };
    const counts = { before: before as [number, number, number], lines: this.lineCount(BOTH) };
    const page = newPage(from, Math.max(time, last?.time ?? 0), counts, entry);
    this.pages.push(page);
    return page;
  }

  #forget(page: Page): void {
    this.#residentBytes -= this.#resident.get(page) ?? 0;
    this.#resident.delete(page);
  }
}
