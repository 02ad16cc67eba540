/** Marks the matches of a search with the CSS Custom Highlight API, which needs no elements. */
import type { MatchPlace } from "./match_index.js";
import type { MatchRange } from "./matcher.js";
import type { Row } from "./row_reader.js";
import { visibleText } from "./text_clip.js";
import { columnRange } from "./text_range.js";

const MATCH = "log-match";
const CURRENT = "log-current-match";
const MAX_RANGES = 2000;

// Browsers without the API show the place of a match only.
const registry = "highlights" in CSS ? CSS.highlights : undefined;

export class MatchHighlights {
  #known = new Map<Row, readonly MatchRange[]>();
  #search = 0;
  #reveals = false;

  /** Forgets the matches of a search that has ended. */
  clear(): void {
    this.#search += 1;
    this.#known = new Map();
    registry?.delete(MATCH);
    registry?.delete(CURRENT);
  }

  /** Makes the next update scroll sideways to the current match. */
  reveal(): void {
    this.#reveals = true;
  }

  /** Marks the matches in the rows that are drawn. */
  async update(
    rows: readonly (readonly [number, Row, Element])[],
    rangesOf: (texts: readonly string[]) => Promise<readonly (readonly MatchRange[])[]>,
    current: MatchPlace | undefined,
  ): Promise<void> {
    const search = this.#search;
    const unknown = rows.map(([, row]) => row).filter((row) => !this.#known.has(row));
    const found = unknown.length ? await rangesOf(unknown.map(visibleText)).catch(() => []) : [];
    if (search !== this.#search) {
      return;
    }
    const known = new Map<Row, readonly MatchRange[]>();
    for (const [, row] of rows) {
      known.set(row, this.#known.get(row) ?? found[unknown.indexOf(row)] ?? []);
    }
    this.#known = known;
    this.#mark(rows, current);
  }

  #mark(rows: readonly (readonly [number, Row, Element])[], current: MatchPlace | undefined): void {
    const matches: Range[] = [];
    const currents: Range[] = [];
    for (const [number, row, text] of rows) {
      const ranges = text.isConnected && row.kind === "output" ? (this.#known.get(row) ?? []) : [];
      ranges.forEach(([begin, end], nth) => {
        const isCurrent = number === current?.row && nth === current.nth;
        if (isCurrent || matches.length < MAX_RANGES) {
          (isCurrent ? currents : matches).push(columnRange(text, begin, end));
        }
      });
    }
    registry?.set(MATCH, new Highlight(...matches));
    registry?.set(CURRENT, new Highlight(...currents));
    if (this.#reveals && currents[0]) {
      this.#reveals = false;
      scrollSideways(currents[0]);
    }
  }
}

/** Scrolls the log sideways until a range is visible. */
function scrollSideways(range: Range): void {
  const scroller = range.startContainer.parentElement?.closest(".log-scroller");
  if (scroller) {
    const view = scroller.getBoundingClientRect();
    const place = range.getBoundingClientRect();
    if (place.left < view.left || place.right > view.right) {
      scroller.scrollLeft += place.left - view.left - view.width / 3;
    }
  }
}
