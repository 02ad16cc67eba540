/** Relates columns of a row's text to the text nodes that contain them. */

/** Returns the node at a column, and the column in this node. */
export function nodeAt(text: Node, column: number): [Node, number] {
  const walker = document.createTreeWalker(text, NodeFilter.SHOW_TEXT);
  let left = column;
  let last: Node | undefined;
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const { length } = node as Text;
    if (left <= length) {
      return [node, left];
    }
    left -= length;
    last = node;
  }
  return last ? [last, (last as Text).length] : [text, 0];
}

/** Returns the range of two columns. */
export function columnRange(text: Node, begin: number, end: number): Range {
  const range = document.createRange();
  range.setStart(...nodeAt(text, begin));
  range.setEnd(...nodeAt(text, end));
  return range;
}

/** Returns the column of a place in a row's text. */
export function columnOf(text: Node, node: Node, offset: number): number {
  const range = document.createRange();
  range.setStart(text, 0);
  range.setEnd(node, offset);
  return range.toString().length;
}
