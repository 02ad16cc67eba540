/** Retries of unary calls. */
import type { CallContext, ConnectOptions } from "./call_context.js";
import type { Connection } from "./connection.js";
import { DEFAULT_RETRY_POLICY } from "./retry_policy.js";

/**
 * Makes a call and retries it while the server is unavailable, until the context ends. If all attempts fail, the
 * first error is thrown because it describes the cause best.
 */
export async function retryCall<T>(
  call: (options: ConnectOptions) => Promise<T>,
  context: CallContext,
  connection: Connection,
): Promise<T> {
  const failures: Error[] = [];
  for (const delay of [...DEFAULT_RETRY_POLICY.callBackoffMs, Number.POSITIVE_INFINITY]) {
    context.signal.throwIfAborted();
    try {
      return await call(context.connectOptions);
    } catch (error) {
      context.signal.throwIfAborted();
      const failure = connection.errorOf(error);
      if (!failure.retryable) {
        throw failure;
      }
      failures.push(failure);
    }
    if (delay >= context.remainingMs) {
      break;
    }
    await context.sleep(delay);
  }
  throw failures[0];
}
