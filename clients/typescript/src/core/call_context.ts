/** The deadline and the cancellation of a call. */
import { ConfigError, JobWorkerError } from "./errors.js";

// gRPC encodes a timeout in at most eight digits, and Connect uses milliseconds: about 27 hours.
const MAX_TIMEOUT_MS = 99_999_999;

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
    let timer: ReturnType<typeof setTimeout> | undefined;
    try {
      await this.race(
        new Promise<void>((resolve) => {
          timer = setTimeout(resolve, ms);
        }),
      );
    } finally {
      clearTimeout(timer);
    }
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
    this.#cleanups.push(listen(parent, onAbort));
  }
}

// The listeners of each signal, which one real listener calls, because Node warns of a leak at 11.
const LISTENERS = new WeakMap<AbortSignal, Set<() => void>>();

/** Calls a listener when the signal aborts. Returns a function that removes the listener. */
function listen(signal: AbortSignal, listener: () => void): () => void {
  const listeners = LISTENERS.get(signal) ?? new Set();
  if (listeners.size === 0) {
    LISTENERS.set(signal, listeners);
    signal.addEventListener("abort", notifyListeners, { once: true });
  }
  listeners.add(listener);
  return () => {
    listeners.delete(listener);
    if (listeners.size === 0) {
      signal.removeEventListener("abort", notifyListeners);
    }
  };
}

function notifyListeners({ target }: Event): void {
  for (const listener of LISTENERS.get(target as AbortSignal) ?? []) {
    listener();
  }
}

function cancelled(reason: unknown): JobWorkerError {
  return reason instanceof JobWorkerError
    ? reason
    : new JobWorkerError("the caller cancelled the call", "CANCELLED", { cause: reason });
}

/**
 * Returns a timeout in whole milliseconds.
 *
 * @throws ConfigError if the timeout is out of range.
 */
export function checkedTimeout(timeoutMs: number): number {
  const whole = Math.ceil(timeoutMs);
  if (whole >= 1 && whole <= MAX_TIMEOUT_MS) {
    return whole;
  }
  throw new ConfigError(
    `timeoutMs: ${timeoutMs} is out of range; use more than 0 and at most ${MAX_TIMEOUT_MS} (27 hours)`,
  );
}
