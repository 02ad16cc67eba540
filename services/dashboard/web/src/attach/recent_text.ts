/** The end of an output as text. */
import { printableLines } from "../ui/printable.js";

// Sequences that only a terminal understands (ECMA-48, 5.4 and 8.3.89): CSI, OSC and single escapes.
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are control characters
const ESCAPES = /\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[ -/]*[0-~])/g;

const MAX_CHARS = 256 * 1024;

/** Collects output and keeps the end of it. */
export class RecentText {
  readonly #decoder = new TextDecoder();
  #text = "";

  /** The text without escape sequences. Other characters that could deceive the reader are visible. */
  get text(): string {
    return printableLines(this.#text.replaceAll(ESCAPES, "").replaceAll("\r\n", "\n"));
  }

  /** Adds output, which can end inside a character. */
  add(data: Uint8Array): void {
    this.#text = (this.#text + this.#decoder.decode(data, { stream: true })).slice(-MAX_CHARS);
  }

  /** Adds a remark on a line for itself. */
  remark(text: string): void {
    this.#text = `${this.#text}\n[${text}]\n`;
  }
}
