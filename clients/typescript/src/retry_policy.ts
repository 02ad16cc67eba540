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
  // The sum exceeds the second that the server needs to replace an API process, and is short enough to wait for
  // if no server runs.
  callBackoffMs: [100, 200, 400, 800],
  streamBackoffMs: [100, 200, 500, 1_000, 2_000],
  connectTimeoutMs: 2_000,
  resumeTimeoutMs: 30_000,
  healthyAfterMs: 10_000,
};
