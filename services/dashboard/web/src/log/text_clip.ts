/** The text of a selection that can be larger than the part of a log that is on the page. */
import { formatBytes } from "../ui/format.js";
import type { TextPoint } from "./messages.js";
import type { Row } from "./row_reader.js";

const BATCH_ROWS = 1000;
// A clipboard keeps all of its text in memory.
const MAX_BYTES = 32 * 1024 * 1024;

/** Returns the text between two places. Rows of one line are joined. */
export async function clipText(
  from: TextPoint,
  to: TextPoint,
  rowsOf: (first: number, end: number) => Promise<readonly Row[]>,
): Promise<string> {
  const [first] = await rowsOf(from.row, from.row + 1);
  const [last] = await rowsOf(to.row, to.row + 1);
  if ((last?.offset ?? 0) - (first?.offset ?? 0) > MAX_BYTES) {
    throw new Error(`The selection has more than ${MAX_BYTES / 1024 / 1024} MiB. Download the log instead.`);
  }
  const parts: string[] = [];
  for (let row = from.row; row <= to.row; row += BATCH_ROWS) {
    const rows = await rowsOf(row, Math.min(to.row + 1, row + BATCH_ROWS));
    parts.push(joinRows(rows, row, from, to));
  }
  return parts.join("");
}

/** Returns the selected text of consecutive rows, of which the first one has the number `first`. */
export function joinRows(rows: readonly Row[], first: number, from: TextPoint, to: TextPoint): string {
  let text = "";
  rows.forEach((row, index) => {
    const nth = first + index;
    const begin = nth === from.row ? from.column : 0;
    const end = nth === to.row ? to.column : undefined;
    const isContinued = row.kind === "output" && row.continued;
    text += nth > from.row && !isContinued ? "\n" : "";
    text += visibleText(row).slice(begin, end);
  });
  return text;
}

/** Returns the text of a row as the page shows it. */
export function visibleText(row: Row): string {
  return row.kind === "gap" ? gapText(row.range) : row.spans.map((span) => span.text).join("");
}

/** Returns the text of a row for output that the server does not have. */
export function gapText({ fromOffset, toOffset, reason }: Extract<Row, { kind: "gap" }>["range"]): string {
  const size = formatBytes(toOffset - fromOffset);
  return `${size} of the log are missing: bytes ${fromOffset} to ${toOffset}. ${reason}`;
}
