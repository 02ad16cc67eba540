/** The jobs of the table, kept current by one watch. */
import {
  type BrowserClient,
  type Job,
  type JobWatch,
  JobWorkerError,
  type WatchFilter,
} from "@jobworker/client/browser";
import { signal } from "@preact/signals";
import { nextTask } from "../ui/tasks.js";

// The client has already retried for 30 s.
const RESTART_MS = 1000;
// An unfinished snapshot replaces the jobs of the previous filter when it has so many jobs, and is shown that often.
const FIRST_JOBS = 50;
const SNAPSHOT_MS = 200;
// The page draws and handles input after at most this much work on events, which can arrive all at once.
const BUSY_MS = 15;

/** The jobs that match a filter. Changes become visible together, at most once per frame. */
export class JobList {
  /** The jobs by id. The map changes in place, so each change is a new object with the same map. */
  readonly state = signal<{ readonly jobs: ReadonlyMap<string, Job> }>({ jobs: new Map() });
  /** True once all jobs that match are known. */
  readonly synced = signal(false);
  /** The error that ended the watch. */
  readonly failure = signal<unknown>(undefined);
  readonly #client: BrowserClient;
  #abort = new AbortController();
  #frame = 0;

  constructor(client: BrowserClient) {
    this.#client = client;
  }

  /** Watches the jobs that match `filter` instead of the present ones. */
  start(filter: WatchFilter): void {
    this.stop();
    this.#abort = new AbortController();
    this.failure.value = undefined;
    this.synced.value = false;
    void this.#run(filter, this.#abort.signal);
  }

  /** Ends the watch. The jobs stay visible. */
  stop(): void {
    this.#abort.abort();
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
  }

  async #run(filter: WatchFilter, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        await this.#read(this.#client.watch(filter, { signal }), signal);
      } catch (error) {
        if (signal.aborted) {
          return;
        }
        if (!(error instanceof JobWorkerError && error.retryable)) {
          this.failure.value = error;
          return;
        }
      }
      await new Promise((resolve) => setTimeout(resolve, RESTART_MS));
    }
  }

  async #read(watch: JobWatch, signal: AbortSignal): Promise<void> {
    let synced = false;
    let nextTime = 0;
    let begin = performance.now();
    for await (const event of watch) {
      // Events that arrived before the end of the watch are not those of the present filter.
      signal.throwIfAborted();
      if (event.type === "synced") {
        synced = true;
        this.synced.value = true;
        this.#show(watch.jobs);
      } else if (synced) {
        this.#showInNextFrame(watch.jobs);
      } else if (watch.jobs.size >= FIRST_JOBS && performance.now() >= nextTime) {
        nextTime = performance.now() + SNAPSHOT_MS;
        this.#showInNextFrame(watch.jobs);
      }
      if (performance.now() - begin > BUSY_MS) {
        await nextTask();
        begin = performance.now();
      }
    }
  }

  #showInNextFrame(jobs: ReadonlyMap<string, Job>): void {
    this.#frame ||= requestAnimationFrame(() => this.#show(jobs));
  }

  #show(jobs: ReadonlyMap<string, Job>): void {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    this.state.value = { jobs };
  }
}
