/**
 * A selection of text that survives the removal of its rows from the page.
 *
 * The browser's selection ends where elements end. This one remembers rows and columns, selects the part that is on the
 * page after each drawing, and copies the whole text.
 */
import { reportError } from "../app/client.js";
import { notify } from "../app/notices.js";
import type { LogWindow } from "./log_window.js";
import type { TextPoint } from "./messages.js";
import { joinRows } from "./text_clip.js";
import { columnOf, nodeAt } from "./text_range.js";
import type { WindowElements } from "./window_elements.js";

type ReadText = (from: TextPoint, to: TextPoint) => Promise<string>;

export class LogSelection {
  readonly #elements: WindowElements;
  readonly #window: LogWindow;
  readonly #readText: ReadText;
  #anchor: TextPoint | undefined;
  #focus: TextPoint | undefined;
  // True from the press of the mouse button to its release. The anchor is then where the drag began, although the
  // browser moves its own anchor if the row leaves the page.
  #isDragging = false;
  #hasDragAnchor = false;
  // The ends of the part that was selected last.
  #shown: { anchor: TextPoint; focus: TextPoint } | undefined;
  readonly #stop = new AbortController();

  constructor(elements: WindowElements, window: LogWindow, readText: ReadText) {
    this.#elements = elements;
    this.#window = window;
    this.#readText = readText;
    const { signal } = this.#stop;
    document.addEventListener("selectionchange", () => this.#onSelectionChange(), { signal });
    document.addEventListener("copy", (event) => this.#onCopy(event), { signal });
    elements.layer.addEventListener("pointerdown", (event) => this.#startDrag(event), { signal });
    document.addEventListener("pointerup", () => this.#endDrag(), { signal });
    document.addEventListener("pointercancel", () => this.#endDrag(), { signal });
    elements.scroller.addEventListener("keydown", (event) => this.#onKeyDown(event), { signal });
  }

  close(): void {
    this.#stop.abort();
  }

  clear(): void {
    this.#anchor = undefined;
    this.#focus = undefined;
    this.#shown = undefined;
  }

  /** Selects the part of the selection that is on the page. */
  restore(): void {
    const rows = this.#window.drawnRows;
    const [first] = rows;
    const last = rows.at(-1);
    if (!this.#anchor || !this.#focus || isSame(this.#anchor, this.#focus) || !first || !last) {
      return;
    }
    const [from, to] = this.#ordered(this.#anchor, this.#focus);
    if (to.row < first[0] || from.row > last[0]) {
      return;
    }
    const bounds = [
      { row: first[0], column: 0 },
      { row: last[0], column: Number.MAX_SAFE_INTEGER },
    ] as const;
    const anchor = clamp(this.#anchor, ...bounds);
    const focus = clamp(this.#focus, ...bounds);
    this.#select(anchor, focus);
  }

  #select(anchor: TextPoint, focus: TextPoint): void {
    const texts = new Map(this.#window.drawnRows.map(([number, , text]) => [number, text]));
    const selection = getSelection();
    const begin = nodeAt(texts.get(anchor.row) as Node, anchor.column);
    const end = nodeAt(texts.get(focus.row) as Node, focus.column);
    const isUnchanged =
      selection?.anchorNode === begin[0] &&
      selection.anchorOffset === begin[1] &&
      selection.focusNode === end[0] &&
      selection.focusOffset === end[1];
    if (selection && !isUnchanged) {
      selection.setBaseAndExtent(...begin, ...end);
    }
    const shown = this.#read();
    this.#shown = shown && { anchor: shown[0], focus: shown[1] };
  }

  #onSelectionChange(): void {
    const ends = this.#read();
    if (!ends) {
      const { anchorNode } = getSelection() ?? {};
      // Elements of the selection that are removed leave it in their parents.
      if (anchorNode && !this.#elements.scroller.contains(anchorNode)) {
        this.clear();
      }
      return;
    }
    const [anchor, focus] = ends;
    if (this.#isDragging && !isSame(anchor, focus)) {
      // The text must not move away from the mouse.
      this.#window.follow(false);
    }
    if (this.#isDragging && this.#hasDragAnchor) {
      this.#focus = focus;
      this.#shown = undefined;
      return;
    }
    this.#hasDragAnchor = this.#isDragging;
    // An end that did not move stands for the place where the selection began or ended outside of the page.
    this.#anchor = this.#shown && isSame(anchor, this.#shown.anchor) ? this.#anchor : anchor;
    this.#focus = this.#shown && isSame(focus, this.#shown.focus) ? this.#focus : focus;
    this.#shown = { anchor, focus };
  }

  #startDrag(event: PointerEvent): void {
    this.#isDragging = event.button === 0;
    // With the shift key, the anchor stays where it was.
    this.#hasDragAnchor = event.shiftKey && this.#anchor !== undefined;
    this.#shown = undefined;
  }

  #endDrag(): void {
    if (this.#isDragging) {
      this.#isDragging = false;
      this.restore();
    }
  }

  /** Returns the ends of the browser's selection, if both are in rows. */
  #read(): [TextPoint, TextPoint] | undefined {
    const selection = getSelection();
    const anchor = this.#pointAt(selection?.anchorNode, selection?.anchorOffset);
    const focus = this.#pointAt(selection?.focusNode, selection?.focusOffset);
    return anchor && focus ? [anchor, focus] : undefined;
  }

  #pointAt(node: Node | null | undefined, offset = 0): TextPoint | undefined {
    if (!node || !this.#elements.layer.contains(node)) {
      return undefined;
    }
    for (const [row, , text] of this.#window.drawnRows) {
      if (text.contains(node)) {
        return { row, column: columnOf(text, node, offset) };
      }
      if (text.parentElement?.contains(node)) {
        return { row, column: 0 };
      }
    }
    return undefined;
  }

  #onKeyDown(event: KeyboardEvent): void {
    if (event.key === "a" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      this.#anchor = { row: 0, column: 0 };
      this.#focus = { row: this.#window.rowCount - 1, column: Number.MAX_SAFE_INTEGER };
      this.restore();
    }
  }

  #onCopy(event: ClipboardEvent): void {
    const { anchorNode } = getSelection() ?? {};
    if (!this.#anchor || !this.#focus || !anchorNode || !this.#elements.scroller.contains(anchorNode)) {
      return;
    }
    const [from, to] = this.#ordered(this.#anchor, this.#focus);
    const drawn = new Map(this.#window.drawnRows.map(([number, row]) => [number, row]));
    const rows = drawn.has(from.row) && drawn.has(to.row) ? [...drawn] : undefined;
    event.preventDefault();
    if (rows) {
      const selected = rows.filter(([number]) => number >= from.row && number <= to.row);
      const text = joinRows(
        selected.map(([, row]) => row),
        from.row,
        from,
        to,
      );
      event.clipboardData?.setData("text/plain", text);
    } else {
      void this.#copyLater(from, to);
    }
  }

  /** Copies text that the worker has to read first. */
  async #copyLater(from: TextPoint, to: TextPoint): Promise<void> {
    try {
      await navigator.clipboard.writeText(await this.#readText(from, to));
      notify(`Copied ${to.row - from.row + 1} lines.`);
    } catch (error) {
      reportError(error);
    }
  }

  #ordered(a: TextPoint, b: TextPoint): [TextPoint, TextPoint] {
    return isBefore(b, a) ? [b, a] : [a, b];
  }
}

function isSame(a: TextPoint, b: TextPoint): boolean {
  return a.row === b.row && a.column === b.column;
}

function isBefore(a: TextPoint, b: TextPoint): boolean {
  return a.row < b.row || (a.row === b.row && a.column < b.column);
}

function clamp(point: TextPoint, first: TextPoint, last: TextPoint): TextPoint {
  return isBefore(point, first) ? first : isBefore(last, point) ? last : point;
}
