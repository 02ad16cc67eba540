/** The terminal in the page. This module is loaded when it is needed. */
import type { Chunk, TerminalSize } from "@jobworker/client/browser";
import { effect } from "@preact/signals";
import { FitAddon } from "@xterm/addon-fit";
import { type ITheme, Terminal } from "@xterm/xterm";
import { themeColor, visibleTheme } from "../app/theme.js";
import type { Output } from "./attach_session.js";
import { replaceInlineStyles } from "./inline_styles.js";
import "@xterm/xterm/css/xterm.css";

const SCROLLBACK_LINES = 10_000;

// WCAG AA.
const CONTRAST = 4.5;

/** The user's side of the terminal. */
export interface TerminalEvents {
  readonly onInput: (data: Uint8Array) => void;
  readonly onResize: (size: TerminalSize) => void;
  /** The user leaves the terminal with the keyboard. */
  readonly onLeave: () => void;
}

/** A terminal that fills an element. */
export class PageTerminal implements Output, Disposable {
  readonly #terminal: Terminal;
  readonly #fit = new FitAddon();
  readonly #events: TerminalEvents;
  readonly #cleanups: (() => void)[] = [];
  // The size of the job's terminal, which is that of the smallest client.
  #jobSize: TerminalSize | undefined;

  constructor(element: HTMLElement, events: TerminalEvents) {
    this.#events = events;
    const restoreInlineStyles = replaceInlineStyles();
    this.#terminal = new Terminal({
      fontFamily: getComputedStyle(element).getPropertyValue("--mono"),
      fontSize: 13,
      scrollback: SCROLLBACK_LINES,
      minimumContrastRatio: CONTRAST,
      cursorBlink: true,
      // Until `goLive`. The terminal does not answer queries in earlier output: the program that asked has its answer.
      disableStdin: true,
      // Output must not open pages.
      linkHandler: { activate: () => undefined },
    });
    this.#terminal.loadAddon(this.#fit);
    this.#terminal.open(element);
    this.#cleanups.push(
      effect(() => this.#applyTheme()),
      () => this.#terminal.dispose(),
      restoreInlineStyles,
    );
    this.#listen(element);
  }

  /** The size that fits into the element. */
  get size(): TerminalSize {
    const proposed = this.#fit.proposeDimensions();
    return { columns: Math.max(1, proposed?.cols || 80), rows: Math.max(1, proposed?.rows || 24) };
  }

  async write(chunk: Chunk): Promise<void> {
    const { truncated } = chunk;
    const data = truncated
      ? `\r\n[${truncated.toOffset - truncated.fromOffset} bytes are missing: ${truncated.reason}]\r\n`
      : chunk.data;
    await new Promise<void>((resolve) => this.#terminal.write(data, resolve));
  }

  goLive(): void {
    this.#terminal.options.disableStdin = false;
    this.#terminal.focus();
  }

  /** Ends the input of the user, and the answers of the terminal. */
  freeze(): void {
    this.#terminal.options.disableStdin = true;
  }

  resized(size: TerminalSize): void {
    this.#jobSize = size;
    this.#resize();
  }

  [Symbol.dispose](): void {
    for (const cleanup of this.#cleanups) {
      cleanup();
    }
  }

  #listen(element: HTMLElement): void {
    const terminal = this.#terminal;
    const encoder = new TextEncoder();
    const { onInput } = this.#events;
    terminal.onData((text) => onInput(encoder.encode(text)));
    terminal.onBinary((text) => onInput(Uint8Array.from(text, (char) => char.charCodeAt(0))));
    terminal.attachCustomKeyEventHandler((event) => !this.#leaves(event));
    const resizes = new ResizeObserver(() => {
      this.#resize();
      this.#events.onResize(this.size);
    });
    resizes.observe(element);
    this.#cleanups.push(() => resizes.disconnect());
  }

  /** Handles the key that leaves the terminal, which has all others for itself. */
  #leaves(event: KeyboardEvent): boolean {
    const leaves = event.ctrlKey && event.altKey && event.code === "KeyX";
    if (leaves && event.type === "keydown") {
      event.preventDefault();
      this.#events.onLeave();
    }
    return leaves;
  }

  #resize(): void {
    const { columns = 1, rows = 1 } = this.size;
    this.#terminal.resize(
      Math.min(columns, this.#jobSize?.columns || columns),
      Math.min(rows, this.#jobSize?.rows || rows),
    );
  }

  #applyTheme(): void {
    // Read here, so that the effect runs again after a change.
    visibleTheme();
    this.#terminal.options.theme = themeOfPage();
  }
}

function themeOfPage(): ITheme {
  const [background, foreground, accent] = [
    themeColor("--surface"),
    themeColor("--text"),
    themeColor("--accent"),
  ];
  return {
    background,
    foreground,
    cursor: accent,
    cursorAccent: background,
    selectionBackground: accent,
    selectionForeground: background,
  };
}
