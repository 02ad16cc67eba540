/** One line of a terminal, in which output can overwrite itself. */
import { EscapeParser, type ParserState, type Terminal } from "./escape_parser.js";
import { PLAIN, type Style, sameStyle } from "./style.js";
import { caretNotation, visibleForm } from "./visible.js";

/** A piece of a row in one style. */
export interface Span {
  readonly text: string;
  readonly style: Style;
  /** The target of a link, as the job wrote it. */
  readonly link: string;
  /** True = `text` stands for characters that are not visible. */
  readonly substitute: boolean;
}

// No row of `RowSplitter` is wider than this, unless sequences move the cursor. They move it as if the terminal had
// `MAX_MOVE` columns, so that a few bytes cannot make a very long row.
const MAX_COLUMNS = 8192;
const MAX_MOVE = 1024;
// A row that changes its style with each character must not become thousands of elements.
const MAX_SPANS = 96;

interface Cell {
  readonly text: string;
  readonly style: Style;
  readonly link: string;
  readonly substitute: boolean;
}

const BLANK: Cell = { text: " ", style: PLAIN, link: "", substitute: false };

export class ScreenLine implements Terminal {
  readonly #parser: EscapeParser;
  readonly #decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  readonly #cells: Cell[] = [];
  #column = 0;

  constructor(state: ParserState) {
    this.#parser = new EscapeParser(state);
  }

  /** Writes the bytes of a row and returns the visible text. */
  write(bytes: Uint8Array): Span[] {
    this.#parser.feed(bytes, this);
    return joinCells(this.#cells);
  }

  text(bytes: Uint8Array): void {
    for (const character of this.#decoder.decode(bytes)) {
      const visible = visibleForm(character);
      this.#put(visible ?? character, visible !== undefined);
    }
  }

  control(byte: number): void {
    switch (byte) {
      case 0x08:
        this.#column = Math.max(0, this.#column - 1);
        break;
      case 0x09:
        this.#put("\t", false);
        break;
      case 0x0a:
        break;
      case 0x0d:
        this.#column = 0;
        break;
      default:
        this.#put(caretNotation(byte), true);
    }
  }

  sequence(final: string, parameters: string): void {
    const count = Math.min(Number.parseInt(parameters, 10) || 0, MAX_MOVE);
    switch (final) {
      case "C":
        this.#moveTo(this.#column + Math.max(1, count));
        break;
      case "D":
        this.#moveTo(this.#column - Math.max(1, count));
        break;
      case "G":
        this.#moveTo(Math.max(1, count) - 1);
        break;
      case "K":
        this.#erase(count);
    }
  }

  #put(text: string, substitute: boolean): void {
    while (this.#cells.length < this.#column) {
      this.#cells.push(BLANK);
    }
    if (this.#column < MAX_COLUMNS) {
      const { style, link } = this.#parser;
      this.#cells[this.#column] = { text, style, link, substitute };
      this.#column += 1;
    }
  }

  #moveTo(column: number): void {
    this.#column = Math.min(Math.max(0, column), Math.max(MAX_MOVE, this.#column));
  }

  /** Erases from the cursor to the end (0), from the beginning to the cursor (1), or the whole line (2). */
  #erase(part: number): void {
    if (part === 0) {
      this.#cells.length = Math.min(this.#cells.length, this.#column);
    } else {
      const end = part === 1 ? Math.min(this.#column + 1, this.#cells.length) : this.#cells.length;
      this.#cells.fill(BLANK, 0, end);
    }
  }
}

function joinCells(cells: readonly Cell[]): Span[] {
  const spans: Span[] = [];
  let begin = 0;
  for (let at = 1; at <= cells.length; at += 1) {
    const last = spans.length === MAX_SPANS - 1;
    if (at === cells.length || (!last && !sameLook(cells[begin] as Cell, cells[at] as Cell))) {
      const text = cells
        .slice(begin, at)
        .map((cell) => cell.text)
        .join("");
      spans.push({ ...(cells[begin] as Cell), text });
      begin = at;
    }
  }
  return spans;
}

function sameLook(a: Cell, b: Cell): boolean {
  return a.link === b.link && a.substitute === b.substitute && sameStyle(a.style, b.style);
}
