/** Calls that are safe to repeat. */
import { fromCall } from "./errors.js";
import type { ConnectOptions, Scope } from "./scope.js";

// The pauses between a call's attempts, in milliseconds: together more than the second that the server
// takes to start an API process anew, and little enough to wait for where there is no server at all.
const PAUSES_MS = [100, 200, 400, 800];

/**
 * Makes a call again and again while the server is away for a moment, within the scope's bounds. The
 * failure that is thrown is the first one: it says most about the cause.
 */
export async function repeat<T>(
  call: (options: ConnectOptions) => Promise<T>,
  scope: Scope,
  server: string,
): Promise<T> {
  const failures: Error[] = [];
  for (const pause of [...PAUSES_MS, Number.POSITIVE_INFINITY]) {
    scope.signal.throwIfAborted();
    try {
      return await call(scope.connectOptions);
    } catch (error) {
      scope.signal.throwIfAborted();
      const failure = fromCall(error, server);
      if (!failure.retryable) {
        throw failure;
      }
      failures.push(failure);
    }
    if (pause >= scope.remainingMs) {
      break;
    }
    await scope.sleep(pause);
  }
  throw failures[0];
}
