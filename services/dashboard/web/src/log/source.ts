/** The streams of a job, and the selections of them that a view can show. */
import type { Source } from "@jobworker/client/browser";

export const STDOUT = 0;
export const STDERR = 1;
export type SourceIndex = typeof STDOUT | typeof STDERR;

/** The streams that a view shows. */
export const BOTH = 0;
export const ONLY_STDOUT = 1;
export const ONLY_STDERR = 2;
export type Filter = typeof BOTH | typeof ONLY_STDOUT | typeof ONLY_STDERR;

export function sourceIndex(source: Source): SourceIndex {
  return source === "stderr" ? STDERR : STDOUT;
}

export function selects(filter: Filter, source: SourceIndex): boolean {
  return filter === BOTH || filter === source + 1;
}
