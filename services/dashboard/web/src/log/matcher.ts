/** Finds matches of a query in rows of text. */

/** A text or a regular expression to search for. */
export interface Query {
  readonly text: string;
  /** True = `text` is a regular expression of JavaScript. */
  readonly isRegex: boolean;
  readonly matchCase: boolean;
}

/** The beginning and the end of a match in the text of a row. */
export type MatchRange = readonly [begin: number, end: number];

export class Matcher {
  readonly #pattern: RegExp;

  /** @throws SyntaxError if the text is not a valid regular expression. */
  constructor({ text, isRegex, matchCase }: Query) {
    this.#pattern = new RegExp(isRegex ? text : escapeText(text), matchCase ? "g" : "gi");
  }

  /** Counts the matches in a row. Empty matches do not count. */
  count(text: string): number {
    this.#pattern.lastIndex = 0;
    return this.#pattern.test(text) ? this.ranges(text).length : 0;
  }

  ranges(text: string): MatchRange[] {
    this.#pattern.lastIndex = 0;
    const ranges: MatchRange[] = [];
    for (const match of text.matchAll(this.#pattern)) {
      if (match[0]) {
        ranges.push([match.index, match.index + match[0].length]);
      }
    }
    return ranges;
  }
}

function escapeText(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\/-]/g, "\\$&");
}
