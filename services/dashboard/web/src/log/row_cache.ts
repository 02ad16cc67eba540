/** The rows around the view. */
import { reportError } from "../app/client.js";
import type { LogClient } from "./log_client.js";
import type { Row } from "./row_reader.js";
import type { Filter } from "./source.js";

// Enough for some screens above and below.
const MAX_ROWS = 2000;
const RETRY_MS = 3000;

export class RowCache {
  readonly #client: LogClient;
  readonly #onRows: () => void;
  #filter: Filter;
  #rows = new Map<number, Row>();
  // Rows that can have changed since they were read.
  #stale = new Set<number>();
  #isLoading = false;

  constructor(client: LogClient, filter: Filter, onRows: () => void) {
    this.#client = client;
    this.#filter = filter;
    this.#onRows = onRows;
  }

  get filter(): Filter {
    return this.#filter;
  }

  set filter(filter: Filter) {
    this.#filter = filter;
    this.#rows = new Map();
    this.#stale.clear();
  }

  get isLoading(): boolean {
    return this.#isLoading;
  }

  /** Returns a row, maybe as it was before output was added to it. */
  get(row: number): Row | undefined {
    return this.#rows.get(row);
  }

  /** Marks the rows that can get longer. */
  markOpenRows(): void {
    for (const [number, row] of this.#rows) {
      if (row.kind === "output" && row.open) {
        this.#stale.add(number);
      }
    }
  }

  /** Returns true if all rows from `first` to `end` are present. Loads the others, and calls `onRows` then. */
  require(first: number, end: number): boolean {
    let from = end;
    let to = first;
    let isPresent = true;
    for (let row = first; row < end; row += 1) {
      const isKnown = this.#rows.has(row);
      isPresent &&= isKnown;
      if (!isKnown || this.#stale.has(row)) {
        from = Math.min(from, row);
        to = row + 1;
      }
    }
    if (from < to && !this.#isLoading) {
      void this.#load(from, to);
    }
    return isPresent;
  }

  async #load(first: number, end: number): Promise<void> {
    const filter = this.#filter;
    this.#isLoading = true;
    try {
      const rows = await this.#client.call("rows", filter, first, end);
      if (filter === this.#filter) {
        this.#store(first, rows);
      }
    } catch (error) {
      reportError(error);
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
    this.#isLoading = false;
    this.#onRows();
  }

  #store(first: number, rows: readonly Row[]): void {
    if (this.#rows.size > MAX_ROWS) {
      this.#rows.clear();
      this.#stale.clear();
    }
    rows.forEach((row, index) => {
      this.#rows.set(first + index, row);
      this.#stale.delete(first + index);
    });
  }
}
