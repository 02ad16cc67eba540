/** Reads the rows of a log: their bytes, times and text. */
import type { TruncatedRange } from "@jobworker/client/browser";
import type { ParserState } from "./escape_parser.js";
import type { LogPages, Place } from "./log_pages.js";
import type { Page, PageContent } from "./page.js";
import { MAX_ROW_SPREAD } from "./row_splitter.js";
import { rowSpans, rowText } from "./row_text.js";
import type { Span } from "./screen_line.js";
import { BOTH, type Filter, type SourceIndex } from "./source.js";

/** A row of output. */
export interface OutputRow {
  readonly kind: "output";
  /** The number of its line, from 1, among the lines that the server still had. */
  readonly line: number;
  /** True = the row is not the first one of its line. */
  readonly continued: boolean;
  readonly offset: number;
  readonly source: SourceIndex;
  /** When the server read the first byte, in milliseconds since the epoch. */
  readonly time: number;
  readonly spans: readonly Span[];
  /** True = more output can follow in this row. */
  readonly open: boolean;
}

/** A row that stands for output that the server does not have. */
export interface GapRow {
  readonly kind: "gap";
  readonly offset: number;
  readonly range: TruncatedRange;
}

export type Row = OutputRow | GapRow;

/** Thrown by the methods of `RowReader` if the content of a page is not in memory. */
export class MissingPage extends Error {
  readonly page: number;

  constructor(page: number) {
    super(`page ${page} is not in memory`);
    this.page = page;
  }
}

export class RowReader {
  readonly #log: LogPages;

  constructor(log: LogPages) {
    this.#log = log;
  }

  /** Returns rows that the filter selects. Throws `MissingPage`. */
  rows(filter: Filter, first: number, end: number): Row[] {
    const rows: Row[] = [];
    for (let nth = first; nth < Math.min(end, this.#log.rowCount(filter)); nth += 1) {
      rows.push(this.#row(this.#place(filter, nth)));
    }
    return rows;
  }

  /** Returns the visible texts of rows, separated by line feeds. Throws `MissingPage`. */
  texts(filter: Filter, first: number, end: number): string {
    const texts: string[] = [];
    for (let nth = first; nth < end; ) {
      const place = this.#place(filter, nth);
      const page = this.#log.pages[place.page] as Page;
      const last = Math.min(page.rows[filter] - 1, place.row + end - nth);
      const block =
        filter === BOTH && !page.gap ? page.content?.plainText(place.row, last, page.entry) : undefined;
      if (block === undefined) {
        texts.push(this.#text(place));
        nth += 1;
      } else {
        texts.push(block);
        nth += last - place.row;
      }
    }
    return texts.join("\n");
  }

  #text(place: Place): string {
    if (this.#log.pages[place.page]?.gap) {
      return "";
    }
    const { bytes, state } = this.read(place);
    return rowText(bytes, state);
  }

  /** Returns the bytes of a row of output, with its line end, and the state in which it begins. */
  read({ page, row }: Place): { bytes: Uint8Array; state: ParserState } {
    const { content, entry } = this.#loaded(page);
    const begin = content.rowOffset(row);
    const source = content.rowSource(row);
    const end = this.#endOfRow(page, row, source);
    const bytes = this.#collect(source, this.#log.readOffset(begin), end);
    return { bytes, state: content.rowState(row, entry) };
  }

  #place(filter: Filter, nth: number): Place {
    const page = this.#log.pageOfRow(filter, nth);
    if (!this.#log.pages[page]?.gap) {
      this.#loaded(page);
    }
    return this.#log.place(filter, nth);
  }

  #row(place: Place): Row {
    const page = this.#log.pages[place.page] as Page;
    if (page.gap) {
      return { kind: "gap", offset: page.from, range: page.gap };
    }
    const { content } = this.#loaded(place.page);
    const { bytes, state } = this.read(place);
    const offset = content.rowOffset(place.row);
    const source = content.rowSource(place.row);
    return {
      kind: "output",
      line: page.linesBefore + content.linesBefore(place.row) + Number(!content.rowContinued(place.row)),
      continued: content.rowContinued(place.row),
      offset,
      source,
      time: content.timeAt(offset),
      spans: rowSpans(bytes, state),
      open: this.#log.isOpen(source, offset),
    };
  }

  /** Returns the offset of the next row of the same source, or a bound of it. */
  #endOfRow(index: number, row: number, source: SourceIndex): number {
    const { content } = this.#loaded(index);
    for (let next = row + 1; next < content.rowCount; next += 1) {
      if (content.rowSource(next) === source) {
        return content.rowOffset(next);
      }
    }
    const bound = this.#log.readOffset(content.rowOffset(row)) + MAX_ROW_SPREAD;
    for (let next = index + 1; next < this.#log.pages.length; next += 1) {
      const page = this.#log.pages[next] as Page;
      const begin = page.gap ? page.from : page.firstRow[source];
      if (begin !== undefined || page.from >= bound) {
        return Math.min(bound, begin ?? bound);
      }
    }
    return Math.min(bound, this.#log.end);
  }

  #collect(source: SourceIndex, from: number, to: number): Uint8Array {
    const pieces: Uint8Array[] = [];
    let index = this.#log.pageOfOffset(from);
    for (; index < this.#log.pages.length && (this.#log.pages[index] as Page).from < to; index += 1) {
      if (!this.#log.pages[index]?.gap) {
        pieces.push(...this.#loaded(index).content.pieces(source, from, to));
      }
    }
    return pieces.length === 1 ? (pieces[0] as Uint8Array) : concatenate(pieces);
  }

  #loaded(index: number): Page & { content: PageContent } {
    const page = this.#log.pages[index] as Page;
    if (!page.content) {
      throw new MissingPage(index);
    }
    this.#log.use(page);
    return page as Page & { content: PageContent };
  }
}

function concatenate(pieces: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(pieces.reduce((size, piece) => size + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}
