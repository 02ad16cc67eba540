/** Values of jobs that change without a message of the watch: the position in the queue and the size of the output. */
import { type BrowserClient, type Job, JobStatus } from "@jobworker/client/browser";
import { signal } from "@preact/signals";

const INTERVAL_MS = 3000;
const MAX_JOBS = 200;
const LIVE = [JobStatus.QUEUED, JobStatus.INITIALIZING, JobStatus.RUNNING];

/** The newest jobs that are not final, by id. Their values are newer than those of the watch. */
export const liveJobs = signal<ReadonlyMap<string, Job>>(new Map());

/** Asks the server for the live jobs from time to time while the page is visible, until `signal` aborts. */
export async function refreshLiveJobs(
  client: BrowserClient,
  isNeeded: () => boolean,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    if (isNeeded() && document.visibilityState === "visible") {
      await refresh(client, signal);
    }
    await new Promise((resolve) => setTimeout(resolve, INTERVAL_MS));
  }
}

async function refresh(client: BrowserClient, signal: AbortSignal): Promise<void> {
  const jobs = new Map<string, Job>();
  try {
    for await (const job of client.list({ statuses: LIVE, pageSize: MAX_JOBS }, { signal })) {
      jobs.set(job.id, job);
      if (jobs.size === MAX_JOBS) {
        break;
      }
    }
    liveJobs.value = jobs;
  } catch {
    // The watch reports the errors of the connection. The values stay as they are.
  }
}
