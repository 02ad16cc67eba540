/** The status of a job in words. */
import { type Job, JobStatus, TerminationReason } from "@jobworker/client/browser";
import type { IconName } from "./icons.js";

/** How a status is shown: its name, its colour class and its icon. */
export interface StatusStyle {
  readonly name: string;
  readonly kind: "ok" | "bad" | "warn" | "busy" | "lost" | "idle";
  readonly icon: IconName;
}

const STYLES: Readonly<Record<JobStatus, StatusStyle>> = {
  [JobStatus.UNSPECIFIED]: { name: "Unknown", kind: "idle", icon: "question" },
  [JobStatus.QUEUED]: { name: "Queued", kind: "warn", icon: "clock" },
  [JobStatus.INITIALIZING]: { name: "Starting", kind: "busy", icon: "spinner" },
  [JobStatus.RUNNING]: { name: "Running", kind: "busy", icon: "spinner" },
  [JobStatus.COMPLETED]: { name: "Completed", kind: "ok", icon: "check" },
  [JobStatus.FAILED]: { name: "Failed", kind: "bad", icon: "cross" },
  [JobStatus.STOPPED]: { name: "Stopped", kind: "idle", icon: "square" },
  [JobStatus.LOST]: { name: "Lost", kind: "lost", icon: "question" },
};

/** The statuses in the order of a job's life. */
export const STATUSES: readonly JobStatus[] = [
  JobStatus.QUEUED,
  JobStatus.INITIALIZING,
  JobStatus.RUNNING,
  JobStatus.COMPLETED,
  JobStatus.FAILED,
  JobStatus.STOPPED,
  JobStatus.LOST,
];

const FINAL = new Set([JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.STOPPED, JobStatus.LOST]);

/** Reports whether a job has ended. */
export function isFinal(job: Job): boolean {
  return FINAL.has(job.status);
}

/** Returns how a status is shown. A newer server can send others. */
export function statusStyle(status: JobStatus): StatusStyle {
  return STYLES[status] ?? STYLES[JobStatus.UNSPECIFIED];
}

/** Returns the shortest text that says why a job has its status, such as `exit 2`, or "". */
export function statusDetail(job: Job, queuePosition = job.queuePosition): string {
  if (job.status === JobStatus.QUEUED) {
    return queuePosition > 0 ? `#${queuePosition}` : "";
  }
  if (job.killPending) {
    return "does not die";
  }
  if (job.termination?.reason === TerminationReason.EVICTED) {
    return "evicted";
  }
  return job.status === JobStatus.FAILED ? failure(job) : "";
}

function failure({ termination, exitCode }: Job): string {
  switch (termination?.reason) {
    case TerminationReason.OOM_KILLED:
      return "out of memory";
    case TerminationReason.TIMED_OUT:
      return "timed out";
    case TerminationReason.QUEUE_TIMED_OUT:
      return "queue timeout";
    case TerminationReason.NOT_STARTED:
      return "not started";
    case TerminationReason.SIGNALED:
      return termination.signalName;
    default:
      return exitCode === undefined ? "" : `exit ${exitCode}`;
  }
}

/** Returns the server's sentence about the status, or "". */
export function statusReason(job: Job): string {
  return job.termination?.message || job.queueReason;
}
