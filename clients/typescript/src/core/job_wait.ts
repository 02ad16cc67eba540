/** Waits for the end of a job over as many calls as needed. */
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import type { WaitJobResponse } from "../gen/jobworker/v1/job_service_pb.js";
import type { CallContext, ConnectOptions } from "./call_context.js";
import type { Connection } from "./connection.js";
import { retryCall } from "./retry.js";
import { DEFAULT_RETRY_POLICY, StreamRetry } from "./retry_policy.js";

/** Makes one call. */
type Call = (options: ConnectOptions) => Promise<WaitJobResponse>;

/**
 * Returns the response for a job that has ended.
 *
 * The first call returns at once, so that an unknown id or an unreachable server is reported as quickly as by any other
 * call. Later calls end with the job, and outlast a restart of the server.
 */
export async function waitForEnd(
  connection: Connection,
  id: string,
  context: CallContext,
  policy = DEFAULT_RETRY_POLICY,
): Promise<WaitJobResponse> {
  const { stub } = connection;
  const first: Call = (options) => stub.waitJob({ id, timeout: durationFromMs(0) }, options);
  const retry = new StreamRetry(policy);
  let response = await retryCall(first, context, connection);
  while (!response.done) {
    retry.madeProgress();
    response = await resumeCall((options) => stub.waitJob({ id }, options), context, connection, retry);
  }
  return response;
}

/** Repeats a call until the server answers, or the time for retries is over. */
async function resumeCall(
  call: Call,
  context: CallContext,
  connection: Connection,
  retry: StreamRetry,
): Promise<WaitJobResponse> {
  for (;;) {
    retry.startCall();
    try {
      return await call(context.connectOptions);
    } catch (error) {
      context.signal.throwIfAborted();
      const failure = connection.errorOf(error);
      retry.failCall();
      if (!failure.retryable || retry.remainingMs <= 0) {
        throw failure;
      }
      await context.sleep(retry.nextDelayMs());
    }
  }
}
