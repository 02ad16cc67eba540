/** Finds rows by offset, time and line number. The functions throw `MissingPage`. */
import { bisect } from "./bisect.js";
import type { LogPages } from "./log_pages.js";
import type { Page, PageContent } from "./page.js";
import { MissingPage } from "./row_reader.js";
import type { Filter } from "./source.js";

/** Returns the last row that begins at or before an offset, or the first row. */
export function locateOffset(log: LogPages, filter: Filter, offset: number): number {
  return inPage(log, filter, log.pageOfOffset(offset), (content) => content.rowAt(offset));
}

/** Returns the first row that begins at or after a time, or the last row. */
export function locateTime(log: LogPages, filter: Filter, time: number): number {
  return inPage(log, filter, log.pageOfTime(time), (content) =>
    bisect(content.rowCount, (row) => content.timeAt(content.rowOffset(row)) >= time),
  );
}

/** Returns the first row of a line, or the nearest row. */
export function locateLine(log: LogPages, filter: Filter, line: number): number {
  const page = bisect(log.pages.length, (index) => (log.pages[index] as Page).linesBefore >= line) - 1;
  return inPage(log, filter, Math.max(0, page), (content, { linesBefore }) => {
    let lines = linesBefore;
    let row = 0;
    while (row < content.rowCount - 1 && lines + Number(!content.rowContinued(row)) < line) {
      lines += Number(!content.rowContinued(row));
      row += 1;
    }
    return row;
  });
}

/** Returns the number of the row that `find` names in a page, within the rows that the filter selects. */
function inPage(
  log: LogPages,
  filter: Filter,
  index: number,
  find: (content: PageContent, page: Page) => number,
): number {
  const page = log.pages[index];
  if (!page) {
    return 0;
  }
  if (!page.content && !page.gap) {
    throw new MissingPage(index);
  }
  const row = page.content ? find(page.content, page) : 0;
  // A row before the first one of a page is the last one of an earlier page.
  const number = row < 0 ? page.before[filter] - 1 : log.rowNumber(filter, { page: index, row });
  return Math.max(0, Math.min(number, log.rowCount(filter) - 1));
}
