/** Waits for the end of a job over as many calls as needed. */
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import type { CallContext, ConnectOptions } from "./call_context.js";
import type { Connection } from "./connection.js";
import { fromCall } from "./errors.js";
import type { WaitJobResponse } from "./gen/jobworker/v1/job_service_pb.js";
import { retryCall } from "./retry.js";
import { DEFAULT_RETRY_POLICY } from "./retry_policy.js";

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
  const { stub, server } = connection;
  const first: Call = (options) => stub.waitJob({ id, timeout: durationFromMs(0) }, options);
  let response = await retryCall(first, context, server);
  while (!response.done) {
    response = await resumeCall((options) => stub.waitJob({ id }, options), context, server, policy);
  }
  return response;
}

/** Repeats a call until the server answers, for at most the policy's resume timeout. */
async function resumeCall(
  call: Call,
  context: CallContext,
  server: string,
  policy: typeof DEFAULT_RETRY_POLICY,
): Promise<WaitJobResponse> {
  let deadline: number | undefined;
  for (let failures = 0; ; failures += 1) {
    const began = performance.now();
    try {
      return await call(context.connectOptions);
    } catch (error) {
      context.signal.throwIfAborted();
      const failure = fromCall(error, server);
      const now = performance.now();
      if (deadline === undefined || now - began > policy.healthyAfterMs) {
        deadline = now + policy.resumeTimeoutMs;
        failures = 0;
      }
      if (!failure.retryable || now >= deadline) {
        throw failure;
      }
      const delays = policy.streamBackoffMs;
      await context.sleep(
        Math.min(delays[Math.min(failures, delays.length - 1)] ?? delays[0], deadline - now),
      );
    }
  }
}
