/** The order of the jobs in the table. */
import { type Job, timestampDate } from "@jobworker/client/browser";
import { commandLine } from "../ui/command_line.js";
import { STATUSES } from "../ui/status.js";

/** The columns that the table can be sorted by. */
export const COLUMNS = ["status", "command", "owner", "node", "created", "duration", "output"] as const;

export type Column = (typeof COLUMNS)[number];

/** A column and a direction. */
export interface Order {
  readonly column: Column;
  readonly descending: boolean;
}

/** Newest jobs first. */
export const DEFAULT_ORDER: Order = { column: "created", descending: true };

/** Reads `COLUMN` or `-COLUMN`, which is descending. */
export function parseOrder(text: string | null): Order {
  const name = text?.replace(/^-/, "");
  const column = COLUMNS.find((each) => each === name);
  return column ? { column, descending: text?.startsWith("-") ?? false } : DEFAULT_ORDER;
}

/** Returns the text for the address: empty for the default. */
export function formatOrder({ column, descending }: Order): string {
  const isDefault = column === DEFAULT_ORDER.column && descending === DEFAULT_ORDER.descending;
  return isDefault ? "" : `${descending ? "-" : ""}${column}`;
}

/** Returns the order after a click on a column's heading: the other direction, or the useful one of a new column. */
export function nextOrder(current: Order, column: Column): Order {
  if (current.column === column) {
    return { column, descending: !current.descending };
  }
  return { column, descending: column === "created" || column === "duration" || column === "output" };
}

type Key = string | number;

/** Returns the jobs in an order. Jobs with the same value are sorted by their creation, newest first. */
export function sortJobs(jobs: Iterable<Job>, { column, descending }: Order, now: number): Job[] {
  const sign = descending ? -1 : 1;
  const keyed = Array.from(jobs, (job) => ({ job, key: keyOf(job, column, now) }));
  keyed.sort((a, b) => sign * compare(a.key, b.key) || compare(b.job.id, a.job.id));
  return keyed.map(({ job }) => job);
}

function keyOf(job: Job, column: Column, now: number): Key {
  switch (column) {
    case "created":
      return job.id;
    case "status":
      return STATUSES.indexOf(job.status);
    case "command":
      return commandLine(job.command, job.args);
    case "owner":
      return job.owner;
    case "node":
      return job.node;
    case "duration":
      return durationOf(job, now);
    case "output":
      return Number(job.logSize);
  }
}

function durationOf({ startTime, endTime }: Job, now: number): number {
  if (!startTime) {
    return 0;
  }
  return (endTime ? Number(timestampDate(endTime)) : now) - Number(timestampDate(startTime));
}

function compare<T extends Key>(a: T, b: T): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
