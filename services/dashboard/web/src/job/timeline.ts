/** The life of a job as a list of moments. */
import { durationMs, type Job, JobStatus, timestampDate } from "@jobworker/client/browser";
import { formatDuration } from "../ui/format.js";
import { commonName } from "../ui/subject.js";

/** `next` = a moment in the future. */
type Kind = "past" | "good" | "bad" | "warn" | "next";

/** Something that has happened to the job, or will. */
export interface Moment {
  readonly title: string;
  /** Undefined for a state that lasts. */
  readonly time: Date | undefined;
  readonly details: string;
  readonly kind: Kind;
}

/** Returns the moments in the order of time. */
export function timeline(job: Job): Moment[] {
  const created = dateOf(job.createTime);
  const started = dateOf(job.startTime);
  const moments = [
    created && moment("Created", created, `by ${commonName(job.owner)}`),
    ...waiting(job, created),
    started && moment("Started", started, startDetails(job, created, started)),
    ...warnings(job),
    ...ending(job, started),
  ];
  return moments.filter((each) => each !== undefined);
}

function moment(title: string, time: Date | undefined, details = "", kind: Kind = "past"): Moment {
  return { title, time, details, kind };
}

function waiting(job: Job, created: Date | undefined): Moment[] {
  if (job.status !== JobStatus.QUEUED) {
    return [];
  }
  const where = job.queuePosition > 0 ? `at position ${job.queuePosition} of the queue` : "in the queue";
  const place = moment(`Waits ${where}`, undefined, job.queueReason);
  const timeout = job.queueTimeout && created ? durationMs(job.queueTimeout) : undefined;
  const deadline =
    created && timeout !== undefined
      ? [moment("Leaves the queue", later(created, timeout), "if it has not started before", "next")]
      : [];
  return [place, ...deadline];
}

function startDetails({ node, attempt }: Job, created: Date | undefined, started: Date): string {
  const waited = created ? Number(started) - Number(created) : 0;
  const details = [
    waited > 0 ? `after ${formatDuration(waited)}` : "",
    node && `on ${node}`,
    attempt > 1 ? `in attempt ${attempt}` : "",
  ];
  return details.filter(Boolean).join(" ");
}

function warnings(job: Job): Moment[] {
  const lifted = dateOf(job.memoryHighLiftTime);
  const moments = lifted
    ? [moment("Throttling lifted", lifted, "the server removed memory.high at 90 % of the limit", "warn")]
    : [];
  if (job.killPending) {
    moments.push(moment("Kill pending", undefined, "a process is blocked in the kernel", "warn"));
  }
  return moments;
}

function ending(job: Job, started: Date | undefined): Moment[] {
  const ended = dateOf(job.endTime);
  if (ended) {
    const kind = job.status === JobStatus.COMPLETED ? "good" : "bad";
    const after = started ? `after ${formatDuration(Number(ended) - Number(started))}` : "";
    const details = [after, job.termination?.message].filter(Boolean).join(": ");
    return [moment(ENDS[job.status] ?? "Ended", ended, details, kind)];
  }
  return started && job.timeout
    ? [moment("Times out", later(started, durationMs(job.timeout)), "if it still runs", "next")]
    : [];
}

const ENDS: Partial<Record<JobStatus, string>> = {
  [JobStatus.COMPLETED]: "Completed",
  [JobStatus.FAILED]: "Failed",
  [JobStatus.STOPPED]: "Stopped",
  [JobStatus.LOST]: "Lost",
};

function dateOf(time: Job["createTime"]): Date | undefined {
  return time && timestampDate(time);
}

function later(date: Date, ms: number): Date {
  return new Date(Number(date) + ms);
}
