/** The rows with matches, in order. */
import { bisect } from "./bisect.js";

/** One match. */
export interface MatchPlace {
  /** The number of the match, from 0. */
  readonly ordinal: number;
  readonly row: number;
  /** The number of the match in its row, from 0. */
  readonly nth: number;
}

export class MatchIndex {
  #rows = new Float64Array(1024);
  // The matches up to and including each row.
  #totals = new Float64Array(1024);
  #length = 0;

  get total(): number {
    return this.#length ? (this.#totals[this.#length - 1] as number) : 0;
  }

  /** The number of rows with matches. */
  get length(): number {
    return this.#length;
  }

  /** Adds a row after all others. */
  add(row: number, matches: number): void {
    if (this.#length === this.#rows.length) {
      this.#rows = larger(this.#rows);
      this.#totals = larger(this.#totals);
    }
    this.#totals[this.#length] = this.total + matches;
    this.#rows[this.#length] = row;
    this.#length += 1;
  }

  /** Removes a row and all rows after it. */
  removeFrom(row: number): void {
    this.#length = bisect(this.#length, (each) => (this.#rows[each] as number) >= row);
  }

  /** Returns a match by its number, which wraps around at both ends. */
  at(ordinal: number): MatchPlace | undefined {
    const { total } = this;
    if (!total) {
      return undefined;
    }
    const wrapped = ((ordinal % total) + total) % total;
    const index = bisect(this.#length, (each) => (this.#totals[each] as number) > wrapped);
    const before = index ? (this.#totals[index - 1] as number) : 0;
    return { ordinal: wrapped, row: this.#rows[index] as number, nth: wrapped - before };
  }

  /** Returns the first match at or after a row, or the first of all. */
  from(row: number): MatchPlace | undefined {
    const index = bisect(this.#length, (each) => (this.#rows[each] as number) >= row);
    return this.at(index && index < this.#length ? (this.#totals[index - 1] as number) : 0);
  }
}

function larger(array: Float64Array): Float64Array<ArrayBuffer> {
  const copy = new Float64Array(2 * array.length);
  copy.set(array);
  return copy;
}
