/** The elements of consecutive rows, and their heights. */
import { rowElement, textOf } from "./row_element.js";
import type { Row } from "./row_reader.js";

// Recent rows count more, so that the average follows the visible part of the log.
const AVERAGED_ROWS = 500;

interface DrawnRow {
  readonly row: Row;
  readonly element: HTMLElement;
}

export class RowList {
  readonly #layer: HTMLElement;
  readonly #hrefOf: (offset: number) => string;
  readonly #drawn = new Map<number, DrawnRow>();
  readonly #heights = new Map<number, number>();
  /** The average height of rows that wrap, or 0 if no row was measured. */
  averageHeight = 0;

  /** `hrefOf` returns the permanent link to an offset. */
  constructor(layer: HTMLElement, hrefOf: (offset: number) => string) {
    this.#layer = layer;
    this.#hrefOf = hrefOf;
  }

  /** The rows, and the elements of their texts, in order. */
  get rows(): [number, Row, Element][] {
    return [...this.#drawn]
      .sort(([a], [b]) => a - b)
      .map(([number, { row, element }]) => [number, row, textOf(element)]);
  }

  clear(): void {
    this.#layer.replaceChildren();
    this.#drawn.clear();
    this.forgetHeights();
  }

  forgetHeights(): void {
    this.#heights.clear();
    this.averageHeight = 0;
  }

  /** Returns the measured height of a row, or the average. */
  heightOf(row: number): number {
    return this.#heights.get(row) ?? this.averageHeight;
  }

  /** Measures the rows from `first` to `end`, which are drawn. */
  measure(first: number, end: number): void {
    for (let row = first; row < end; row += 1) {
      const height = this.#drawn.get(row)?.element.offsetHeight ?? this.averageHeight;
      this.#heights.set(row, height);
      this.averageHeight += (height - this.averageHeight) / Math.min(this.#heights.size, AVERAGED_ROWS);
    }
  }

  /** Makes the elements of the rows from `first` to `end`, and removes the others. Marks the row `target`. */
  draw(first: number, end: number, rowOf: (number: number) => Row, target: number): void {
    this.#removeOutside(first, end);
    let next = this.#layer.firstElementChild;
    for (let number = first; number < end; number += 1) {
      const element = this.#drawRow(number, rowOf(number), next);
      element.classList.toggle("target", number === target);
      next = element.nextElementSibling;
    }
  }

  #removeOutside(first: number, end: number): void {
    for (const [number, { element }] of this.#drawn) {
      if (number < first || number >= end) {
        element.remove();
        this.#drawn.delete(number);
      }
    }
  }

  /** Returns the element of a row, which replaces an older one of the same row. */
  #drawRow(number: number, row: Row, next: Element | null): HTMLElement {
    const drawn = this.#drawn.get(number);
    if (drawn?.row === row) {
      return drawn.element;
    }
    const element = rowElement(row, this.#hrefOf);
    this.#layer.insertBefore(element, drawn?.element ?? next);
    drawn?.element.remove();
    this.#drawn.set(number, { row, element });
    return element;
  }
}
