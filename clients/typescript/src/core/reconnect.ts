/** Waits for a connection after a stream has broken. */
import { CallContext } from "./call_context.js";
import type { Connection } from "./connection.js";
import type { StreamRetry } from "./retry_policy.js";

/** Waits for a connection. Returns false when the time for retries is over. */
export async function reconnect(
  connection: Connection,
  retry: StreamRetry,
  context: CallContext,
): Promise<boolean> {
  while (retry.remainingMs > 0) {
    await context.sleep(retry.nextDelayMs());
    if (await connect(connection, retry, context)) {
      return true;
    }
  }
  return false;
}

async function connect(connection: Connection, retry: StreamRetry, context: CallContext): Promise<boolean> {
  using attempt = new CallContext([context.signal], Math.max(1, retry.remainingMs));
  try {
    return await attempt.race(connection.connect());
  } catch {
    context.signal.throwIfAborted();
    return false;
  }
}
