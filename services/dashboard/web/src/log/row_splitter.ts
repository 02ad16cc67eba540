/**
 * Divides output into rows, which are lines or parts of very long lines.
 *
 * Each stream of the job has its own lines: output of the other stream inside a line does not break the line. The
 * rows depend on the bytes and their sources only, not on the chunks in which they arrive. A page of the log that is
 * loaded again therefore has the same rows.
 */
import type { SourceIndex } from "./source.js";

/** A row has at most this many bytes after the last carriage return, and 3 more to complete a character. */
export const MAX_ROW = 4096;
/** A line that overwrites itself keeps this many bytes before its last carriage return. */
const MAX_OVERWRITTEN = 32_768;
/** A row ends if the other stream has continued for so long. */
const MAX_SPREAD = 131_072;
/** Bytes of the log from the position of a row within which all of its content is. */
export const MAX_ROW_SPREAD = MAX_SPREAD + MAX_OVERWRITTEN + MAX_ROW + 4;

const LINE_FEED = 0x0a;
const RETURN = 0x0d;

/** Receives the rows in the order of their first bytes. */
export interface RowSink {
  /** A row begins. `continued` = it belongs to the same line as the previous row of its source. */
  startRow(offset: number, source: SourceIndex, continued: boolean): void;
  /** The content of the current row of the source before the offset is overwritten, and too long to keep. */
  restartRow(offset: number, source: SourceIndex): void;
}

/** The row of one source that the last byte belongs to. */
interface CurrentRow {
  readonly open: boolean;
  /** True = the row ended in the middle of a line. */
  readonly cut: boolean;
  readonly begin: number;
  /** The offset after its last byte. */
  readonly end: number;
  /** Number of bytes since the beginning, and since the last carriage return. */
  readonly total: number;
  readonly width: number;
}

type MutableRow = { -readonly [Key in keyof CurrentRow]: CurrentRow[Key] };

/** The current row of each source. */
export type SplitState = readonly [CurrentRow, CurrentRow];

const NO_ROW: CurrentRow = { open: false, cut: false, begin: 0, end: 0, total: 0, width: 0 };

export const NO_ROWS: SplitState = [NO_ROW, NO_ROW];

export class RowSplitter {
  readonly #rows: readonly [MutableRow, MutableRow];

  constructor(state: SplitState = NO_ROWS) {
    this.#rows = [{ ...state[0] }, { ...state[1] }];
  }

  get state(): SplitState {
    return [{ ...this.#rows[0] }, { ...this.#rows[1] }];
  }

  /** Reports whether the last row of a source can still get longer. */
  isOpen(source: SourceIndex): boolean {
    return this.#rows[source].open;
  }

  add(bytes: Uint8Array, offset: number, source: SourceIndex, sink: RowSink): void {
    const row = this.#rows[source];
    if (row.open && offset !== row.end && offset - row.begin > MAX_SPREAD) {
      cut(row);
    }
    const overwrites = bytes.includes(RETURN);
    for (let at = 0; at < bytes.length; ) {
      if (!row.open) {
        sink.startRow(offset + at, source, row.cut);
        Object.assign(row, { open: true, cut: false, begin: offset + at, total: 0, width: 0 });
      }
      const end = lineEnd(bytes, at);
      if (row.total + end - at <= MAX_ROW) {
        at = addShort(row, bytes, at, end, overwrites);
      } else {
        at = addLong(row, bytes, at, end, (restart) => sink.restartRow(offset + restart, source), offset);
      }
      row.end = offset + at;
    }
  }
}

function lineEnd(bytes: Uint8Array, begin: number): number {
  const at = bytes.indexOf(LINE_FEED, begin);
  return at < 0 ? bytes.length : at + 1;
}

/** Adds bytes that certainly fit in the row. Returns their end. */
function addShort(
  row: MutableRow,
  bytes: Uint8Array,
  begin: number,
  end: number,
  overwrites: boolean,
): number {
  const last = overwrites ? bytes.lastIndexOf(RETURN, end - 1) : -1;
  row.total += end - begin;
  row.width = last >= begin ? end - 1 - last : row.width + end - begin;
  row.open = bytes[end - 1] !== LINE_FEED;
  return end;
}

/** Adds bytes up to the end of the row. Returns the end of the bytes that belong to the row. */
function addLong(
  row: MutableRow,
  bytes: Uint8Array,
  begin: number,
  end: number,
  restart: (at: number) => void,
  offset: number,
): number {
  for (let at = begin; at < end; at += 1) {
    const byte = bytes[at] as number;
    if (row.width >= MAX_ROW && canBeginRow(byte, row.width)) {
      cut(row);
      return at;
    }
    row.total += 1;
    row.width += 1;
    if (byte === RETURN) {
      row.width = 0;
      if (row.total > MAX_OVERWRITTEN) {
        row.total = 0;
        row.begin = offset + at + 1;
        restart(at + 1);
      }
    }
  }
  row.open = bytes[end - 1] !== LINE_FEED;
  return end;
}

function cut(row: MutableRow): void {
  row.open = false;
  row.cut = true;
}

/** Reports whether a row can be divided before the byte: not inside a character, nor before the end of the line. */
function canBeginRow(byte: number, width: number): boolean {
  const insideCharacter = byte >= 0x80 && byte <= 0xbf && width < MAX_ROW + 3;
  return !insideCharacter && byte !== LINE_FEED && byte !== RETURN;
}
