/** The values of a chart. */
import type { Value } from "./usage_history.js";

// The limit is drawn if the values come near it. Else it would press them to the bottom of the chart.
const NEAR_LIMIT = 1 / 4;

/** One line of a chart. */
export interface Line {
  readonly name: string;
  readonly color: `--${string}`;
  readonly values: readonly Value[];
}

/** Returns the times, the values of each line, and the line of the limit, which is empty if it is not drawn. */
export function chartData(
  times: readonly number[],
  lines: readonly Line[],
  limit: number | undefined,
): [number[], ...Value[][]] {
  const highest = Math.max(...lines.flatMap(({ values }) => values).map((value) => value ?? 0));
  const drawn = limit !== undefined && highest >= limit * NEAR_LIMIT ? limit : null;
  return [[...times], ...lines.map(({ values }) => [...values]), times.map(() => drawn)];
}
