/** Values of jobs that change without a message of the watch: the position in the queue and the size of the output. */
import { type BrowserClient, type Job, JobStatus } from "@jobworker/client/browser";
import { signal } from "@preact/signals";
import { endsSession } from "../app/client.js";

const INTERVAL_MS = 3000;
// Until there are jobs to ask for.
const IDLE_MS = 300;
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
    const isDue = isNeeded() && document.visibilityState === "visible";
    if (isDue) {
      await refresh(client, signal);
    }
    await new Promise((resolve) => setTimeout(resolve, isDue ? INTERVAL_MS : IDLE_MS));
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
  } catch (error) {
    // The values stay as they are. The watch reports other errors.
    endsSession(error);
  }
}
