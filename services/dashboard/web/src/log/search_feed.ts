/** Feeds the rows of a log to a worker that searches them. */
import type { MatchPlace } from "./match_index.js";
import type { MatchRange, Query } from "./matcher.js";
import type { SearchAnswer, SearchCall, SearchState } from "./messages.js";

const BATCH_ROWS = 4096;
// A regular expression can take exponential time. Nothing can interrupt it but the end of its thread.
const STUCK_MS = 5000;

/** The log as the search sees it. */
export interface SearchedRows {
  /** Returns the number of rows. */
  count(): number;
  /** Reports whether output can still be added to the last row. */
  isLastOpen(): boolean;
  /** Returns the texts of rows, separated by line feeds. */
  texts(first: number, end: number): Promise<string>;
}

/** One search. It continues with new rows until it is closed. */
export class SearchFeed {
  readonly #rows: SearchedRows;
  readonly #worker: Worker;
  readonly #report: (state: SearchState) => void;
  readonly #waiting = new Map<
    number,
    { resolve: (value: unknown) => void; reject: (error: Error) => void }
  >();
  #lastId = 0;
  #searched = 0;
  #matches = 0;
  #isClosed = false;
  #wake = () => {};

  constructor(query: Query, rows: SearchedRows, worker: Worker, report: (state: SearchState) => void) {
    this.#rows = rows;
    this.#worker = worker;
    this.#report = report;
    worker.onmessage = ({ data }: MessageEvent<SearchAnswer>) => this.#receive(data);
    worker.onerror = () => this.#fail("The search failed to start.");
    void this.#run(query);
  }

  /** Tells the search that the log has more rows. */
  continue(): void {
    this.#wake();
  }

  async match(ordinal: number): Promise<MatchPlace | undefined> {
    return (await this.#call({ kind: "match", ordinal })) as MatchPlace | undefined;
  }

  async matchFrom(row: number): Promise<MatchPlace | undefined> {
    return (await this.#call({ kind: "matchFrom", row })) as MatchPlace | undefined;
  }

  async ranges(texts: readonly string[]): Promise<MatchRange[][]> {
    return (await this.#call({ kind: "ranges", texts })) as MatchRange[][];
  }

  close(): void {
    this.#isClosed = true;
    this.#worker.terminate();
    for (const { reject } of this.#waiting.values()) {
      reject(new Error("the search was closed"));
    }
    this.#waiting.clear();
    this.#wake();
  }

  async #run(query: Query): Promise<void> {
    try {
      await this.#call({ kind: "start", query });
      while (!this.#isClosed) {
        const isComplete = await this.#searchBatch();
        this.#tell(isComplete ? "complete" : "running", "");
        if (isComplete) {
          await new Promise<void>((resolve) => {
            this.#wake = resolve;
          });
        }
      }
    } catch (error) {
      this.#fail((error as Error).message);
    }
  }

  /** Searches the next rows. Returns true if they were the last ones. */
  async #searchBatch(): Promise<boolean> {
    const first = this.#searched;
    const end = Math.min(first + BATCH_ROWS, this.#rows.count());
    if (end > first) {
      const isOpen = end === this.#rows.count() && this.#rows.isLastOpen();
      const text = await this.#rows.texts(first, end);
      this.#matches = (await this.#call({ kind: "rows", first, text })) as number;
      // A row that can get longer is searched again.
      this.#searched = isOpen ? end - 1 : end;
      return isOpen || end === this.#rows.count();
    }
    return true;
  }

  async #call(call: SearchCall): Promise<unknown> {
    if (this.#isClosed) {
      throw new Error("the search was closed");
    }
    const id = ++this.#lastId;
    const timer = setTimeout(() => this.#fail(STUCK_MESSAGE), STUCK_MS);
    try {
      return await new Promise((resolve, reject) => {
        this.#waiting.set(id, { resolve, reject });
        this.#worker.postMessage({ id, ...call });
      });
    } finally {
      clearTimeout(timer);
    }
  }

  #receive({ id, value, error }: SearchAnswer): void {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (error === undefined) {
      waiting?.resolve(value);
    } else {
      waiting?.reject(new Error(error));
    }
  }

  #fail(message: string): void {
    if (!this.#isClosed) {
      this.#tell("failed", message);
      this.close();
    }
  }

  #tell(phase: SearchState["phase"], message: string): void {
    if (!this.#isClosed) {
      this.#report({ phase, matches: this.#matches, searchedRows: this.#searched, message });
    }
  }
}

const STUCK_MESSAGE =
  `The search was ended, because the expression took more than ${STUCK_MS / 1000} s on a part of the log. ` +
  "Use an expression without nested repetitions.";
