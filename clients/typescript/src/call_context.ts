/** The deadline and the cancellation of a call. */
import { setMaxListeners } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { checkedTimeout } from "./config.js";
import { JobWorkerError } from "./errors.js";

/** Options of every call. */
export interface CallOptions {
  /** Cancels the call, which then fails with CANCELLED. */
  readonly signal?: AbortSignal | undefined;
  /** Time limit in milliseconds, retries included. A call that exceeds it fails with DEADLINE_EXCEEDED. */
  readonly timeoutMs?: number | undefined;
}

/** The options of a Connect call that bound it. */
export interface ConnectOptions {
  readonly signal: AbortSignal;
  readonly timeoutMs?: number;
}

/** The deadline and the cancellation of one call. Dispose of it when the call has ended. */
export class CallContext implements Disposable {
  readonly #controller = new AbortController();
  readonly #cleanups: (() => void)[] = [];
  readonly #deadline: number;

  /** Ends with the first of the parents, and after the timeout. */
  constructor(parents: readonly (AbortSignal | undefined)[], timeoutMs: number | undefined) {
    const timeout = timeoutMs === undefined ? undefined : checkedTimeout(timeoutMs);
    this.#deadline = timeout === undefined ? Number.POSITIVE_INFINITY : performance.now() + timeout;
    if (timeout !== undefined) {
      const timer = setTimeout(() => this.#expire(timeout), timeout);
      this.#cleanups.push(() => clearTimeout(timer));
    }
    for (const parent of parents) {
      if (parent) {
        this.#abortWith(parent);
      }
    }
  }

  /** Aborts when the call must end. The reason is the error that the call fails with. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** The time until the deadline in milliseconds. Infinity without a deadline. */
  get remainingMs(): number {
    return this.#deadline - performance.now();
  }

  /** The options of a Connect call in this context. */
  get connectOptions(): ConnectOptions {
    const remaining = this.remainingMs;
    return Number.isFinite(remaining)
      ? { signal: this.signal, timeoutMs: Math.max(1, Math.ceil(remaining)) }
      : { signal: this.signal };
  }

  /** Sleeps. Throws the call's error if the context ends first. */
  async sleep(ms: number): Promise<void> {
    await sleep(ms, undefined, { signal: this.signal }).catch(() => this.signal.throwIfAborted());
  }

  /** Awaits a promise. Throws the call's error if the context ends first. */
  async race<T>(promise: Promise<T>): Promise<T> {
    this.signal.throwIfAborted();
    let onAbort = (): void => undefined;
    const aborted = new Promise<never>((_, reject) => {
      onAbort = () => reject(this.signal.reason);
    });
    this.signal.addEventListener("abort", onAbort);
    try {
      return await Promise.race([promise, aborted]);
    } finally {
      this.signal.removeEventListener("abort", onAbort);
    }
  }

  /** Ends the call from inside the client. */
  abort(): void {
    this.#controller.abort(new JobWorkerError("the call was ended", "CANCELLED"));
  }

  [Symbol.dispose](): void {
    for (const cleanup of this.#cleanups) {
      cleanup();
    }
  }

  #expire(timeoutMs: number): void {
    this.#controller.abort(
      new JobWorkerError(`the server did not answer within ${timeoutMs} ms`, "DEADLINE_EXCEEDED"),
    );
  }

  #abortWith(parent: AbortSignal): void {
    const onAbort = (): void => this.#controller.abort(cancelled(parent.reason));
    if (parent.aborted) {
      onAbort();
      return;
    }
    // Node warns of a leak at 11 listeners. These are removed with their calls.
    setMaxListeners(0, parent);
    parent.addEventListener("abort", onAbort, { once: true });
    this.#cleanups.push(() => parent.removeEventListener("abort", onAbort));
  }
}

function cancelled(reason: unknown): JobWorkerError {
  return reason instanceof JobWorkerError
    ? reason
    : new JobWorkerError("the caller cancelled the call", "CANCELLED", { cause: reason });
}
