/** The text of a log view about the end of a job. */
import { type Job, JobStatus } from "@jobworker/client/browser";

/** The end of a job, for people. */
export interface Outcome {
  readonly succeeded: boolean;
  readonly text: string;
}

const NAMES = new Map<JobStatus, string>([
  [JobStatus.COMPLETED, "Completed"],
  [JobStatus.FAILED, "Failed"],
  [JobStatus.STOPPED, "Stopped"],
  [JobStatus.LOST, "Lost"],
]);

/** Returns the end of a job, or undefined if the job has not ended. */
export function outcomeOf(job: Job): Outcome | undefined {
  const name = NAMES.get(job.status);
  if (!name) {
    return undefined;
  }
  const { exitCode, termination } = job;
  const code = exitCode === undefined ? "" : `exit code ${exitCode}`;
  const details = termination?.message || code;
  return {
    succeeded: job.status === JobStatus.COMPLETED,
    text: details ? `${name}: ${details}` : name,
  };
}
