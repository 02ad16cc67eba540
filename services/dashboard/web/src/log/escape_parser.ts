/** Recognizes the control sequences of a terminal (ECMA-48) in bytes that arrive in pieces of any size. */
import { applyRendition, PLAIN, type Style } from "./style.js";

const GROUND = 0;
const ESCAPE = 1;
const CONTROL_SEQUENCE = 2;
const COMMAND = 3;
const COMMAND_ESCAPE = 4;
const IGNORED = 5;
const IGNORED_ESCAPE = 6;

const BELL = 0x07;
const LINE_FEED = 0x0a;
const ESC = 0x1b;
const DELETE = 0x7f;

const MAX_SEQUENCE = 256;
// The longest address that browsers agree on, and some space for the parameters.
const MAX_COMMAND = 4096;

/** The effect of the bytes before a position on the bytes after it. */
export interface ParserState {
  readonly style: Style;
  /** The target of the OSC 8 link, or "". */
  readonly link: string;
  /** The state of an unfinished sequence, and its bytes so far. */
  readonly mode: number;
  readonly pending: readonly number[];
}

export const INITIAL_STATE: ParserState = { style: PLAIN, link: "", mode: GROUND, pending: [] };

/** Receives text and controls in the order of the bytes. */
export interface Terminal {
  /** Bytes without control characters. */
  text(bytes: Uint8Array): void;
  /** A control character outside a sequence. */
  control(byte: number): void;
  /** A control sequence other than a rendition. */
  sequence(final: string, parameters: string): void;
}

/** Keeps the style and the link that the sequences so far have set. */
export class EscapeParser {
  style: Style;
  link: string;
  #mode: number;
  #pending: number[];

  constructor(state: ParserState = INITIAL_STATE) {
    this.style = state.style;
    this.link = state.link;
    this.#mode = state.mode;
    this.#pending = [...state.pending];
  }

  get state(): ParserState {
    return { style: this.style, link: this.link, mode: this.#mode, pending: [...this.#pending] };
  }

  /** Parses the next bytes. Without a terminal, only follows the state, which is much faster. */
  feed(bytes: Uint8Array, terminal?: Terminal): void {
    let at = 0;
    while (at < bytes.length) {
      if (this.#mode === GROUND) {
        at = this.#ground(bytes, at, terminal);
      } else {
        const used = this.#inSequence(bytes[at] as number, terminal);
        at += Number(used);
      }
    }
  }

  /** Handles text up to a control character, and this character. Returns the next position. */
  #ground(bytes: Uint8Array, begin: number, terminal: Terminal | undefined): number {
    const end = terminal || this.link ? controlAfter(bytes, begin) : escapeAfter(bytes, begin);
    if (terminal && end > begin) {
      terminal.text(bytes.subarray(begin, end));
    }
    if (end < bytes.length) {
      this.#control(bytes[end] as number, terminal);
    }
    return end + 1;
  }

  #control(byte: number, terminal: Terminal | undefined): void {
    if (byte === ESC) {
      this.#mode = ESCAPE;
      return;
    }
    if (byte === LINE_FEED) {
      // A link that is never closed must not cover the rest of the log.
      this.link = "";
    }
    terminal?.control(byte);
  }

  /** Handles a byte inside a sequence. Returns false if the byte ends the sequence and must be parsed again. */
  #inSequence(byte: number, terminal: Terminal | undefined): boolean {
    switch (this.#mode) {
      case ESCAPE:
        return this.#afterEscape(byte);
      case CONTROL_SEQUENCE:
        return this.#inControlSequence(byte, terminal);
      case COMMAND_ESCAPE:
      case IGNORED_ESCAPE:
        return this.#afterCommandEscape(byte);
      default:
        return this.#inCommand(byte);
    }
  }

  #afterEscape(byte: number): boolean {
    this.#pending = [];
    if (byte < 0x20) {
      return this.#cancel();
    }
    switch (String.fromCharCode(byte)) {
      case "[":
        this.#mode = CONTROL_SEQUENCE;
        break;
      case "]":
        this.#mode = COMMAND;
        break;
      case "P":
      case "X":
      case "^":
      case "_":
        this.#mode = IGNORED;
        break;
      default:
        // Bytes from 0x20 to 0x2f are intermediates, and the final byte follows.
        this.#mode = byte <= 0x2f ? ESCAPE : GROUND;
    }
    return true;
  }

  #inControlSequence(byte: number, terminal: Terminal | undefined): boolean {
    if (byte < 0x20 || byte > 0x7e || this.#pending.length >= MAX_SEQUENCE) {
      return this.#cancel();
    }
    if (byte < 0x40) {
      this.#pending.push(byte);
      return true;
    }
    const parameters = String.fromCharCode(...this.#pending);
    if (byte === 0x6d && /^[\d;:]*$/.test(parameters)) {
      this.style = applyRendition(this.style, parameters);
    } else {
      terminal?.sequence(String.fromCharCode(byte), parameters);
    }
    this.#cancel();
    return true;
  }

  /** Handles a byte of an operating system command or of a string that is ignored. A line feed cancels it. */
  #inCommand(byte: number): boolean {
    const ignored = this.#mode === IGNORED;
    if (byte === ESC) {
      this.#mode = ignored ? IGNORED_ESCAPE : COMMAND_ESCAPE;
    } else if (byte === BELL) {
      this.#endCommand();
    } else if (byte === LINE_FEED) {
      return this.#cancel();
    } else if (!ignored) {
      this.#pending.push(byte);
      this.#mode = this.#pending.length > MAX_COMMAND ? IGNORED : COMMAND;
    }
    return true;
  }

  #afterCommandEscape(byte: number): boolean {
    if (byte === 0x5c) {
      this.#endCommand();
      return true;
    }
    // Another sequence begins: the command has no end.
    this.#mode = ESCAPE;
    return false;
  }

  #endCommand(): void {
    if (this.#mode === COMMAND || this.#mode === COMMAND_ESCAPE) {
      const command = new TextDecoder().decode(Uint8Array.from(this.#pending));
      const link = /^8;[^;]*;(.*)$/s.exec(command);
      this.link = link ? (link[1] as string) : this.link;
    }
    this.#cancel();
  }

  #cancel(): false {
    this.#mode = GROUND;
    this.#pending = [];
    return false;
  }
}

function controlAfter(bytes: Uint8Array, begin: number): number {
  let at = begin;
  while (at < bytes.length && (bytes[at] as number) >= 0x20 && bytes[at] !== DELETE) {
    at += 1;
  }
  return at;
}

function escapeAfter(bytes: Uint8Array, begin: number): number {
  const at = bytes.indexOf(ESC, begin);
  return at < 0 ? bytes.length : at;
}
