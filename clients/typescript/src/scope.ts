/** How long a call may go on: until its caller's signal, its deadline or the end of the client. */
import { setMaxListeners } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { JobWorkerError } from "./errors.js";
import { checkedTimeout } from "./settings.js";

/** What every call takes. */
export interface CallOptions {
  /** Ends the call, which then fails with CANCELLED. */
  readonly signal?: AbortSignal | undefined;
  /** When the call fails with DEADLINE_EXCEEDED, in milliseconds from its beginning, retries included. */
  readonly timeoutMs?: number | undefined;
}

/** The part of Connect's own options that bounds a call. */
export interface ConnectOptions {
  readonly signal: AbortSignal;
  readonly timeoutMs?: number;
}

/** The bounds of one call; dispose of it when the call has ended. */
export class Scope implements Disposable {
  readonly #controller = new AbortController();
  readonly #releases: (() => void)[] = [];
  readonly #end: number;

  constructor(parents: readonly (AbortSignal | undefined)[], timeoutMs: number | undefined) {
    const timeout = timeoutMs === undefined ? undefined : checkedTimeout(timeoutMs);
    this.#end = timeout === undefined ? Number.POSITIVE_INFINITY : performance.now() + timeout;
    if (timeout !== undefined) {
      const timer = setTimeout(() => this.#expire(timeout), timeout);
      this.#releases.push(() => clearTimeout(timer));
    }
    for (const parent of parents) {
      if (parent) {
        this.#endWith(parent);
      }
    }
  }

  /** Aborted when the call has to end; its reason is the error to fail with. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** How much time is left, in milliseconds; Infinity if there is no deadline. */
  get remainingMs(): number {
    return this.#end - performance.now();
  }

  /** The options of a Connect call within these bounds. */
  get connectOptions(): ConnectOptions {
    const left = this.remainingMs;
    return Number.isFinite(left)
      ? { signal: this.signal, timeoutMs: Math.max(1, Math.ceil(left)) }
      : { signal: this.signal };
  }

  /** Waits so many milliseconds; throws what the call has to fail with if it ends before. */
  async sleep(ms: number): Promise<void> {
    await sleep(ms, undefined, { signal: this.signal }).catch(() => this.signal.throwIfAborted());
  }

  /** Returns what a promise is resolved with; throws what the call has to fail with if it ends before. */
  async race<T>(promise: Promise<T>): Promise<T> {
    this.signal.throwIfAborted();
    let end = (): void => undefined;
    const ended = new Promise<never>((_, reject) => {
      end = () => reject(this.signal.reason);
    });
    this.signal.addEventListener("abort", end);
    try {
      return await Promise.race([promise, ended]);
    } finally {
      this.signal.removeEventListener("abort", end);
    }
  }

  /** Ends the call from within. */
  abort(): void {
    this.#controller.abort(new JobWorkerError("the call was ended", "CANCELLED"));
  }

  [Symbol.dispose](): void {
    for (const release of this.#releases) {
      release();
    }
  }

  #expire(timeoutMs: number): void {
    this.#controller.abort(new JobWorkerError(`no answer within ${timeoutMs} ms`, "DEADLINE_EXCEEDED"));
  }

  #endWith(parent: AbortSignal): void {
    const end = (): void => this.#controller.abort(cancelled(parent.reason));
    if (parent.aborted) {
      end();
      return;
    }
    // As many listeners as calls are no leak, of which Node would warn: each goes with its call.
    setMaxListeners(0, parent);
    parent.addEventListener("abort", end, { once: true });
    this.#releases.push(() => parent.removeEventListener("abort", end));
  }
}

function cancelled(reason: unknown): JobWorkerError {
  return reason instanceof JobWorkerError
    ? reason
    : new JobWorkerError("the call was cancelled by its caller", "CANCELLED", { cause: reason });
}
