/**
 * Where the view is in the log, in relation to the scroll bar.
 *
 * Browsers limit the height of elements: Firefox to about 17.9 million pixels, Chromium to 33.5 million. The scroll bar
 * therefore moves over at most `MAX_HEIGHT` pixels, and one of its pixels can stand for many rows. If rows wrap, their
 * heights are known only once they are visible, and the scroll bar stands for rows and not for pixels.
 */

export const MAX_HEIGHT = 8_000_000;

/** The row at the top edge, and how many pixels of it are above the edge. */
export interface Position {
  readonly row: number;
  readonly pixels: number;
}

export const TOP: Position = { row: 0, pixels: 0 };

/** The extent of the content and of the view. */
export interface ScrollRange {
  readonly rows: number;
  /** The height of a row that does not wrap. */
  readonly rowHeight: number;
  /** The height of the view. */
  readonly height: number;
  /** False = the heights of rows differ. */
  readonly isUniform: boolean;
}

/** Returns the height of the content for the scroll bar. */
export function contentHeight({ rows, rowHeight, height }: ScrollRange): number {
  return Math.max(height, Math.min(rows * rowHeight, MAX_HEIGHT));
}

/** Reports whether each pixel of the scroll bar is a pixel of the content. */
export function isExact({ rows, rowHeight, isUniform }: ScrollRange): boolean {
  return isUniform && rows * rowHeight <= MAX_HEIGHT;
}

/** Returns the largest value of `scrollTop`. */
export function maxScroll(range: ScrollRange): number {
  return contentHeight(range) - range.height;
}

/** Returns the position that a place of the scroll bar stands for. */
export function positionAt(range: ScrollRange, scrollTop: number): Position {
  const most = maxScroll(range);
  const share = most > 0 ? Math.min(1, Math.max(0, scrollTop / most)) : 0;
  const pixels = isExact(range) ? Math.min(scrollTop, most) : share * lastTop(range);
  const row = Math.floor(pixels / range.rowHeight);
  return { row, pixels: pixels - row * range.rowHeight };
}

/** Returns the place of the scroll bar for a position. `rowPixels` = the height of the row of the position. */
export function scrollTopOf(range: ScrollRange, position: Position, rowPixels = range.rowHeight): number {
  const pixels = (position.row + position.pixels / rowPixels) * range.rowHeight;
  const last = lastTop(range);
  return isExact(range)
    ? Math.min(pixels, last)
    : last > 0
      ? Math.min(1, pixels / last) * maxScroll(range)
      : 0;
}

/** Moves a position by pixels of the content, over rows of the given heights. Stops at the first and the last row. */
export function moveBy(
  position: Position,
  delta: number,
  rows: number,
  heightOf: (row: number) => number,
): Position {
  let row = position.row;
  let pixels = position.pixels + delta;
  while (pixels < 0 && row > 0) {
    row -= 1;
    pixels += heightOf(row);
  }
  while (row < rows - 1 && pixels >= heightOf(row)) {
    pixels -= heightOf(row);
    row += 1;
  }
  return { row, pixels: Math.max(0, Math.min(pixels, heightOf(row) - 1)) };
}

/** Returns the pixels above the view if the last row is at its bottom edge and no row wraps. */
function lastTop({ rows, rowHeight, height }: ScrollRange): number {
  return Math.max(0, rows * rowHeight - height);
}
