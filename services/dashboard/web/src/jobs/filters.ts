/** The filters and the order of the jobs table, as they are in the address. */
import { type Job, JobStatus, type WatchFilter } from "@jobworker/client/browser";
import type { QueryChanges } from "../app/query.js";
import { STATUSES } from "../ui/status.js";

/** The number of ended jobs in the table. */
export const MAX_FINAL_JOBS = 10_000;

/** The periods of time to choose from, with their length in milliseconds. */
export const PERIODS: ReadonlyMap<string, number> = new Map([
  ["15m", 15 * 60_000],
  ["1h", 60 * 60_000],
  ["24h", 24 * 60 * 60_000],
  ["7d", 7 * 24 * 60 * 60_000],
]);

/** One label. */
export interface Label {
  readonly key: string;
  readonly value: string;
}

/** The filters. Empty = no filter. */
export interface Filters {
  readonly statuses: readonly JobStatus[];
  readonly owner: string;
  readonly labels: readonly Label[];
  /** Name of a node. The page applies it, because the server has no such filter. */
  readonly node: string;
  /** A part of the command line, or the start of a job id. */
  readonly text: string;
  /** A key of `PERIODS`. */
  readonly period: string;
  /** Start and end of the creation time, as in a `datetime-local` field: in the local zone. */
  readonly from: string;
  readonly to: string;
}

/** Reads the filters from a query. Ignores values that it does not know. */
export function readFilters(query: URLSearchParams): Filters {
  const names = (query.get("status") ?? "").toUpperCase().split(",");
  const period = query.get("since") ?? "";
  return {
    statuses: STATUSES.filter((status) => names.includes(JobStatus[status])),
    owner: query.get("owner") ?? "",
    labels: query.getAll("label").map(parseLabel),
    node: query.get("node") ?? "",
    text: query.get("q") ?? "",
    period: PERIODS.has(period) ? period : "",
    from: dateOf(query.get("from")) ? (query.get("from") ?? "") : "",
    to: dateOf(query.get("to")) ? (query.get("to") ?? "") : "",
  };
}

/** Returns the query of the filters that are set in `filters`. The others do not change. */
export function filterQuery(filters: Partial<Filters>): QueryChanges {
  const { statuses, owner, labels, node, text, period, from, to } = filters;
  return {
    ...(statuses && { status: statuses.map((status) => JobStatus[status].toLowerCase()).join(",") }),
    ...(owner !== undefined && { owner }),
    ...(labels && { label: labels.map(formatLabel) }),
    ...(node !== undefined && { node }),
    ...(text !== undefined && { q: text }),
    ...(period !== undefined && { since: period }),
    ...(from !== undefined && { from }),
    ...(to !== undefined && { to }),
  };
}

/** Filters that match every job. */
export const NO_FILTERS: Filters = readFilters(new URLSearchParams());

/** Reports whether any filter is set. */
export function isFiltered(filters: Filters): boolean {
  return Object.values(filters).some((value: string | readonly unknown[]) => value.length > 0);
}

/** Returns the filter for the server. */
export function toWatchFilter(filters: Filters, now: Date): WatchFilter {
  const { statuses, owner, labels, text } = filters;
  const period = PERIODS.get(filters.period);
  const after = period === undefined ? dateOf(filters.from) : new Date(Number(now) - period);
  return {
    statuses: [...statuses],
    owner,
    labels: Object.fromEntries(labels.map(({ key, value }) => [key, value])),
    ...(isIdPrefix(text) ? { idPrefix: text } : { commandContains: text }),
    createdAfter: after,
    createdBefore: period === undefined ? dateOf(filters.to) : undefined,
    maxFinalJobs: MAX_FINAL_JOBS,
  };
}

/** Returns the jobs of the node of the filter, or all jobs without one. */
export function onNode(jobs: ReadonlyMap<string, Job>, { node }: Filters): ReadonlyMap<string, Job> {
  return node ? new Map([...jobs].filter(([, job]) => job.node === node)) : jobs;
}

/** Returns `KEY=VALUE`. */
export function formatLabel({ key, value }: Label): string {
  return `${key}=${value}`;
}

/** Reads `KEY=VALUE`. The value can contain `=`. */
export function parseLabel(text: string): Label {
  const [key = "", ...rest] = text.split("=");
  return { key, value: rest.join("=") };
}

// Ids are UUIDs in lower case. The first group is long enough not to be a word of a command by chance.
function isIdPrefix(text: string): boolean {
  return /^[0-9a-f]{8}(-[0-9a-f-]{0,27})?$/.test(text);
}

function dateOf(text: string | null): Date | undefined {
  const date = new Date(text ?? "");
  return Number.isNaN(Number(date)) ? undefined : date;
}
