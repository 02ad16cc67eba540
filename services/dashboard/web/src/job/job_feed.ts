/** The state of one job, as new as the server reports it. */
import { type BrowserClient, type Job, JobStatus, JobWorkerError } from "@jobworker/client/browser";
import { signal } from "@preact/signals";
import { errorText } from "../ui/error_text.js";
import { isFinal } from "../ui/status.js";
import { UsageHistory } from "./usage_history.js";

const MEASURE_INTERVAL_MS = 1000;

// How long the feed waits before it watches again. The watch itself has retried for 30 s by then.
const RETRY_DELAY_MS = 3000;

// A measurement that takes longer is late for the chart.
const MEASURE_TIMEOUT_MS = 5000;

type Client = Pick<BrowserClient, "get" | "watch">;

/** `missing` = the job never existed, or was deleted before the page was opened. */
export type FeedState =
  | { readonly kind: "loading" | "live" | "missing" | "deleted" }
  | { readonly kind: "failed"; readonly message: string };

/** Follows one job: its record by a watch, and its usage, or its position in the queue, by a request each second. */
export class JobFeed {
  /** The newest record. It stays after the job was deleted. */
  readonly job = signal<Job | undefined>(undefined);
  readonly state = signal<FeedState>({ kind: "loading" });
  /** The usage since the page was opened. `measurements` changes with it. */
  readonly history = new UsageHistory();
  readonly measurements = signal(0);
  readonly #client: Client;
  readonly #id: string;
  #isMeasuring = false;

  constructor(client: Client, id: string) {
    this.#client = client;
    this.#id = id;
  }

  /**
   * Follows the job until the signal aborts or the job does not exist. `isVisible` says whether the page is visible.
   *
   * @throws JobWorkerError if the server refuses the watch. The state is then `failed`.
   */
  async run(aborted: AbortSignal, isVisible: () => boolean): Promise<void> {
    const timer = setInterval(() => {
      if (isVisible()) {
        void this.#measure(aborted);
      }
    }, MEASURE_INTERVAL_MS);
    try {
      while (!(await this.#watch(aborted))) {
        await new Promise((resolve) => setTimeout(resolve, RETRY_DELAY_MS));
      }
    } finally {
      clearInterval(timer);
    }
  }

  /** Watches the job. Returns true if there is nothing more to watch. */
  async #watch(aborted: AbortSignal): Promise<boolean> {
    try {
      for await (const event of this.#client.watch({ ids: [this.#id] }, { signal: aborted })) {
        if (event.type === "removed") {
          this.state.value = { kind: this.job.peek() ? "deleted" : "missing" };
          return true;
        }
        if (event.type === "changed") {
          this.#show(event.job);
          void this.#measure(aborted);
        }
      }
    } catch (error) {
      if (!aborted.aborted && !(error instanceof JobWorkerError && error.retryable)) {
        this.state.value = { kind: "failed", message: errorText(error) };
        throw error;
      }
    }
    return aborted.aborted;
  }

  /** Requests the usage of a running job, or the position of a queued one. The watch has neither. */
  async #measure(aborted: AbortSignal): Promise<void> {
    const status = this.job.peek()?.status;
    if (this.#isMeasuring || (status !== JobStatus.RUNNING && status !== JobStatus.QUEUED)) {
      return;
    }
    this.#isMeasuring = true;
    try {
      const options = { signal: aborted, timeoutMs: MEASURE_TIMEOUT_MS };
      this.#show(await this.#client.get(this.#id, options));
    } catch {
      // The watch reports an outage.
    } finally {
      this.#isMeasuring = false;
    }
  }

  #setLive(): void {
    if (this.state.peek().kind !== "live") {
      this.state.value = { kind: "live" };
    }
  }

  #show(job: Job): void {
    const known = this.job.peek();
    // A response that is older than the end of the job.
    if (known && isFinal(known) && !isFinal(job)) {
      return;
    }
    this.#setLive();
    this.job.value = job.usage || !known?.usage ? job : { ...job, usage: known.usage };
    if (job.usage && !isFinal(job)) {
      this.history.add(job.usage, Date.now() / 1000);
      this.measurements.value += 1;
    }
  }
}
