/** The messages between a log view and its worker. */
import type { Source } from "@jobworker/client/browser";
import type { MatchPlace } from "./match_index.js";
import type { MatchRange, Query } from "./matcher.js";
import type { Outcome } from "./outcome.js";
import type { Row } from "./row_reader.js";
import type { Filter } from "./source.js";

/** A place in the text of a row that a filter selects. */
export interface TextPoint {
  readonly row: number;
  readonly column: number;
}

/** Output for the user's disk. */
export interface Download {
  readonly blob: Blob;
  /** Bytes that the server does not have. */
  readonly missing: number;
}

/** The methods of the worker. All of them return promises. */
export interface LogMethods {
  /** Starts to read the output of a job. The first call. */
  open(jobId: string, baseUrl: string): void;
  /** Returns rows that the filter selects. */
  rows(filter: Filter, first: number, end: number): Row[];
  /** Returns the text between two places. */
  text(filter: Filter, from: TextPoint, to: TextPoint): string;
  /** Returns the last row that begins at or before an offset. */
  rowAtOffset(filter: Filter, offset: number): number;
  /** Returns the first row that begins at or after a time in milliseconds since the epoch. */
  rowAtTime(filter: Filter, time: number): number;
  /** Returns the row with a line number. */
  rowAtLine(filter: Filter, line: number): number;
  /** Searches the whole log, and all output that follows. Without a query, ends the search. */
  search(filter: Filter, query: Query | undefined): void;
  /** Returns the match with a number. */
  match(ordinal: number): MatchPlace | undefined;
  /** Returns the first match at or after a row. */
  matchFrom(row: number): MatchPlace | undefined;
  /** Returns the matches in the texts of rows. */
  matchRanges(texts: readonly string[]): MatchRange[][];
  /** Reads the output that exists now as the job wrote it. */
  download(source: Source | undefined): Download;
  cancelDownload(): void;
  /** Connects again after a failure. */
  retry(): void;
}

export type MethodName = keyof LogMethods;

/** The state of the stream. */
export interface LogState {
  /** Rows and lines for each filter. */
  readonly rows: readonly [number, number, number];
  readonly lines: readonly [number, number, number];
  /** The end of the log in bytes. */
  readonly end: number;
  /** When the server read the first and the last output, in milliseconds since the epoch. */
  readonly firstTime: number;
  readonly lastTime: number;
  readonly phase: "live" | "reconnecting" | "ended" | "failed";
  /** The end of the job. */
  readonly outcome: Outcome | undefined;
  /** The message and the code of the error after which the stream stopped. */
  readonly error: string;
  readonly errorCode: string;
}

/** The progress of a search. */
export interface SearchState {
  /** `complete` = all rows so far are searched. `failed` = see `message`. */
  readonly phase: "running" | "complete" | "failed";
  readonly matches: number;
  readonly searchedRows: number;
  readonly message: string;
}

/** A call of a method. */
export interface CallMessage {
  readonly id: number;
  readonly method: MethodName;
  readonly parameters: readonly unknown[];
}

export type WorkerMessage =
  | { readonly kind: "result"; readonly id: number; readonly value: unknown }
  | { readonly kind: "error"; readonly id: number; readonly message: string }
  | { readonly kind: "state"; readonly state: LogState }
  | { readonly kind: "search"; readonly state: SearchState | undefined }
  | { readonly kind: "downloaded"; readonly bytes: number };

/** The messages to the worker that searches, and its answers. */
export type SearchCall =
  | { readonly kind: "start"; readonly query: Query }
  | { readonly kind: "rows"; readonly first: number; readonly text: string }
  | { readonly kind: "match"; readonly ordinal: number }
  | { readonly kind: "matchFrom"; readonly row: number }
  | { readonly kind: "ranges"; readonly texts: readonly string[] };

export interface SearchAnswer {
  readonly id: number;
  readonly value?: unknown;
  readonly error?: string;
}
