/** How often and for how long calls and streams are retried. Times are in milliseconds. */
export interface RetryPolicy {
  /** The delays between the attempts of a unary call. */
  readonly callBackoffMs: readonly number[];
  /** The delays between the attempts of a stream. The last one repeats. */
  readonly streamBackoffMs: readonly [number, ...number[]];
  /** How long a stream is retried that has not reached the server yet. */
  readonly connectTimeoutMs: number;
  /** How long a stream is retried that lost its server, which probably restarts. */
  readonly resumeTimeoutMs: number;
  /** The age at which a call without messages counts as healthy: its job wrote no output. */
  readonly healthyAfterMs: number;
}

export const DEFAULT_RETRY_POLICY: RetryPolicy = {
  // The sum exceeds the 3 s that a restart of the server takes on a busy host, and is short enough to wait for if no
  // server runs.
  callBackoffMs: [100, 200, 400, 800, 1_000, 1_000, 1_000],
  streamBackoffMs: [100, 200, 500, 1_000, 2_000],
  connectTimeoutMs: 5_000,
  resumeTimeoutMs: 30_000,
  healthyAfterMs: 10_000,
};

/** The retries of a stream, or of a wait, which also lasts until the job has ended. */
export class StreamRetry {
  readonly #policy: RetryPolicy;
  #deadline: number;
  #callStart = 0;
  #progress = false;
  #failures = 0;

  constructor(policy: RetryPolicy) {
    this.#policy = policy;
    this.#deadline = performance.now() + policy.connectTimeoutMs;
  }

  /** The time until retries end. */
  get remainingMs(): number {
    return this.#deadline - performance.now();
  }

  startCall(): void {
    this.#callStart = performance.now();
  }

  /** Records a message of the server: the next failure restarts the resume timeout. */
  madeProgress(): void {
    this.#progress = true;
  }

  /** Records a failure of a call that had started. */
  failCall(): void {
    const now = performance.now();
    if (this.#progress || now - this.#callStart > this.#policy.healthyAfterMs) {
      this.#deadline = now + this.#policy.resumeTimeoutMs;
      this.#failures = 0;
      this.#progress = false;
    }
  }

  /** Counts a failure, and returns the delay before the next attempt. */
  nextDelayMs(): number {
    const delays = this.#policy.streamBackoffMs;
    const delay = delays[Math.min(this.#failures, delays.length - 1)] ?? delays[0];
    this.#failures += 1;
    return Math.min(delay, this.remainingMs);
  }
}
