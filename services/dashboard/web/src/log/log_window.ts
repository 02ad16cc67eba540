/** The visible part of a log. It has elements for the rows on the screen only. */
import type { LogClient } from "./log_client.js";
import { RowCache } from "./row_cache.js";
import { RowList } from "./row_list.js";
import type { Row } from "./row_reader.js";
import {
  contentHeight,
  isExact,
  maxScroll,
  moveBy,
  type Position,
  positionAt,
  type ScrollRange,
  scrollTopOf,
  TOP,
} from "./scroll_map.js";
import type { Filter } from "./source.js";
import type { WindowElements, WindowEvents } from "./window_elements.js";

const MARGIN_ROWS = 8;
const SETTLED_MS = 200;

export class LogWindow {
  readonly cache: RowCache;
  readonly #elements: WindowElements;
  readonly #events: WindowEvents;
  readonly #resizes: ResizeObserver;
  #total = 0;
  // The newest number of rows. While the last rows are loaded, it is not used yet: fast output would always be ahead.
  #newestTotal = 0;
  readonly #list: RowList;
  #rowHeight = 20;
  // The height of the view. To read it from the element, the browser would compute the layout in each drawing.
  #height: number;
  #wraps = false;
  // Without a position, the last row is at the bottom edge.
  #position: Position | undefined = TOP;
  #isFollowing = true;
  // Pixels to show above the position, once the heights of the rows there are known.
  #context = 0;
  #target = -1;
  #scrollTop = 0;
  #frame = 0;
  #settled: ReturnType<typeof setTimeout> | undefined;

  constructor(client: LogClient, filter: Filter, elements: WindowElements, events: WindowEvents) {
    this.#elements = elements;
    this.#events = events;
    this.#height = elements.scroller.clientHeight;
    this.#list = new RowList(elements.layer, (offset) => events.hrefOf(offset));
    this.cache = new RowCache(client, filter, () => this.schedule());
    elements.scroller.addEventListener("scroll", this.#onScroll);
    this.#resizes = new ResizeObserver(() => this.relayout());
    this.#resizes.observe(elements.scroller);
  }

  close(): void {
    this.#elements.scroller.removeEventListener("scroll", this.#onScroll);
    this.#resizes.disconnect();
    cancelAnimationFrame(this.#frame);
    clearTimeout(this.#settled);
  }

  get rowCount(): number {
    return this.#total;
  }

  /** The first row that is at least partly visible. */
  get topRow(): number {
    return this.#position?.row ?? Math.max(0, this.#total - this.#visibleRows);
  }

  /** The rows with elements, in order. */
  get drawnRows(): [number, Row, Element][] {
    return this.#list.rows;
  }

  setTotal(total: number): void {
    this.#newestTotal = total;
    if (!this.#isFollowing || !this.cache.isLoading) {
      this.#total = total;
    }
    this.cache.markOpenRows();
    this.schedule();
  }

  setFilter(filter: Filter, total: number, row: number): void {
    this.cache.filter = filter;
    this.#total = total;
    this.#newestTotal = total;
    this.#target = -1;
    this.#list.clear();
    this.#position = this.#isFollowing ? undefined : { row, pixels: 0 };
    this.schedule();
  }

  /** Changes if rows wrap. */
  setWraps(wraps: boolean): void {
    this.#wraps = wraps;
    this.#position = this.#position && { ...this.#position, pixels: 0 };
    this.relayout();
  }

  /** Follows the output, or stops at the present place. */
  follow(isFollowing: boolean): void {
    this.#setFollowing(isFollowing);
    this.#position = isFollowing ? undefined : (this.#position ?? this.#lastPosition());
    this.schedule();
  }

  /** Moves by pixels. */
  scrollBy(pixels: number): void {
    this.#moveBy(pixels);
    this.schedule();
  }

  scrollPages(pages: number): void {
    this.scrollBy(pages * (this.#range.height - 2 * this.#rowHeight));
  }

  scrollRows(rows: number): void {
    this.scrollBy(rows * this.#rowHeight);
  }

  /** Shows a row at the top edge, or in the upper third, and marks it if asked for. */
  show(row: number, { mark = false, context = true } = {}): void {
    this.#setFollowing(false);
    this.#position = { row: Math.max(0, Math.min(row, this.#total - 1)), pixels: 0 };
    this.#context = context ? Math.floor(this.#visibleRows / 3) * this.#rowHeight : 0;
    if (!this.#wraps) {
      this.#adjustPosition();
    }
    this.#target = mark ? row : this.#target;
    this.schedule();
  }

  /** Marks a row, and leaves the view where it is. */
  mark(row: number): void {
    this.#target = row;
    this.schedule();
  }

  /** Measures everything again after a change of the layout. */
  relayout(): void {
    this.#list.forgetHeights();
    const { scroller, frame, layer } = this.#elements;
    this.#rowHeight = Number.parseFloat(getComputedStyle(layer).lineHeight) || this.#rowHeight;
    this.#height = scroller.clientHeight;
    frame.style.height = `${this.#height}px`;
    this.schedule();
  }

  /** Draws in the next frame. */
  schedule(): void {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.#draw();
    });
  }

  get #visibleRows(): number {
    return Math.ceil(this.#height / this.#rowHeight);
  }

  get #range(): ScrollRange {
    const rowHeight = this.#wraps ? this.#list.averageHeight || this.#rowHeight : this.#rowHeight;
    return { rows: this.#total, rowHeight, height: this.#height, isUniform: !this.#wraps };
  }

  readonly #onScroll = (): void => {
    const { scrollTop, scrollHeight } = this.#elements.scroller;
    const delta = scrollTop - this.#scrollTop;
    if (Math.abs(delta) < 1) {
      return;
    }
    const range = this.#range;
    this.#scrollTop = scrollTop;
    if (scrollTop + this.#height >= scrollHeight - 1) {
      this.#position = undefined;
      this.#setFollowing(true);
    } else if (isExact(range) || Math.abs(delta) > 3 * range.height || scrollTop <= 0) {
      this.#setFollowing(false);
      this.#position = positionAt(range, scrollTop);
    } else {
      this.#moveBy(delta);
    }
    this.#settleLater();
    this.schedule();
  };

  #moveBy(pixels: number): void {
    const range = this.#range;
    if (this.#total * range.rowHeight <= range.height && !this.#wraps) {
      return;
    }
    const from = this.#position ?? this.#lastPosition();
    const next = moveBy(from, pixels, this.#total, (row) => this.#heightOf(row));
    const last = this.#lastPosition();
    const isLast = next.row > last.row || (next.row === last.row && next.pixels >= last.pixels - 1);
    this.#position = isLast && pixels > 0 ? undefined : next;
    this.#setFollowing(this.#position === undefined);
  }

  /** Corrects a position that was set before the heights of its rows were known. */
  #adjustPosition(): void {
    const position = this.#position;
    if (position) {
      const height = (row: number) => this.#heightOf(row);
      const inRow = { row: position.row, pixels: Math.min(position.pixels, height(position.row) - 1) };
      const wanted = moveBy(inRow, -this.#context, this.#total, height);
      const last = this.#lastPosition();
      const isBeyond = wanted.row > last.row || (wanted.row === last.row && wanted.pixels > last.pixels);
      this.#context = 0;
      this.#position = isBeyond ? last : wanted;
      if (this.#position.row !== position.row) {
        this.schedule();
      }
    }
  }

  /** Returns the position at which the last row is at the bottom edge. */
  #lastPosition(): Position {
    const last = Math.max(0, this.#total - 1);
    const height = (row: number) => this.#heightOf(row);
    const end = { row: last, pixels: height(last) };
    return moveBy(end, -this.#range.height, this.#total, height);
  }

  #heightOf(row: number): number {
    return this.#wraps ? this.#list.heightOf(row) || this.#rowHeight : this.#rowHeight;
  }

  #setFollowing(isFollowing: boolean): void {
    if (this.#isFollowing !== isFollowing) {
      this.#isFollowing = isFollowing;
      this.#events.onFollow(isFollowing);
    }
  }

  #draw(): void {
    if (this.#isFollowing && this.#total * this.#rowHeight > this.#height) {
      this.#position = undefined;
    }
    const first = Math.max(0, this.topRow - MARGIN_ROWS);
    const end = Math.min(this.#total, this.topRow + this.#visibleRows + MARGIN_ROWS);
    if (!this.cache.require(first, end)) {
      return;
    }
    const height = `${contentHeight(this.#range)}px`;
    if (this.#elements.content.style.height !== height) {
      this.#elements.content.style.height = height;
    }
    this.#list.draw(first, end, (row) => this.cache.get(row) as Row, this.#target);
    this.#place(first, end);
    if (this.#settled === undefined || isExact(this.#range)) {
      this.#moveScrollBar();
    }
    this.#events.onDraw();
    if (this.#total !== this.#newestTotal) {
      this.setTotal(this.#newestTotal);
    }
  }

  /** Moves the elements to the place that the position asks for. */
  #place(first: number, end: number): void {
    if (this.#wraps) {
      this.#list.measure(first, end);
      this.#adjustPosition();
    }
    let above = 0;
    let all = 0;
    for (let row = first; row < end; row += 1) {
      above += this.#position && row < this.#position.row ? this.#heightOf(row) : 0;
      all += this.#heightOf(row);
    }
    const shift = this.#position ? -above - this.#position.pixels : this.#height - all;
    this.#elements.layer.style.transform = `translateY(${all < this.#height && first === 0 ? 0 : shift}px)`;
  }

  #moveScrollBar(): void {
    const range = this.#range;
    const { scroller } = this.#elements;
    const position = this.#position;
    const top = position ? scrollTopOf(range, position, this.#heightOf(position.row)) : maxScroll(range);
    if (Math.abs(scroller.scrollTop - top) >= 1) {
      scroller.scrollTop = top;
    }
    this.#scrollTop = scroller.scrollTop;
  }

  /** Moves the scroll bar to its exact place once the user has stopped to move it. */
  #settleLater(): void {
    clearTimeout(this.#settled);
    this.#settled = setTimeout(() => {
      this.#settled = undefined;
      this.schedule();
    }, SETTLED_MS);
  }
}
