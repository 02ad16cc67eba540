/** The worker that searches. It has a thread for itself, because a regular expression can take exponential time. */
import { MatchIndex } from "./match_index.js";
import { Matcher } from "./matcher.js";
import type { SearchAnswer, SearchCall } from "./messages.js";

const MAX_ROWS = 5_000_000;

const matches = new MatchIndex();
let matcher: Matcher | undefined;

addEventListener("message", ({ data }: MessageEvent<{ id: number } & SearchCall>) => {
  let answer: SearchAnswer;
  try {
    answer = { id: data.id, value: handle(data) };
  } catch (error) {
    answer = { id: data.id, error: (error as Error).message };
  }
  postMessage(answer);
});

function handle(call: SearchCall): unknown {
  switch (call.kind) {
    case "start":
      matcher = new Matcher(call.query);
      return undefined;
    case "rows":
      return searchRows(call.first, call.text);
    case "match":
      return matches.at(call.ordinal);
    case "matchFrom":
      return matches.from(call.row);
    case "ranges":
      return call.texts.map((text) => matcher?.ranges(text));
  }
}

/** Searches rows, instead of an earlier search of the same rows. Returns the number of matches so far. */
function searchRows(first: number, text: string): number {
  matches.removeFrom(first);
  let row = first;
  for (const line of text.split("\n")) {
    const count = matcher?.count(line) ?? 0;
    if (count) {
      matches.add(row, count);
    }
    row += 1;
  }
  if (matches.length > MAX_ROWS) {
    throw new Error(`The search was ended, because more than ${MAX_ROWS} lines match. Use a longer text.`);
  }
  return matches.total;
}
