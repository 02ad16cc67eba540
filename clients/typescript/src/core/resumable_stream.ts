/** One reader of a job's output that survives broken connections. */
import { clone } from "@bufbuild/protobuf";
import { OutputSource } from "../gen/jobworker/v1/job_output_pb.js";
import type { Job } from "../gen/jobworker/v1/job_pb.js";
import {
  type GetJobsStreamRequest,
  GetJobsStreamRequestSchema,
  type GetJobsStreamResponse,
} from "../gen/jobworker/v1/job_service_pb.js";
import { CallContext, type ConnectOptions } from "./call_context.js";
import { type Chunk, splitMessage, truncatedChunk } from "./chunk.js";
import type { Connection } from "./connection.js";
import { JobWorkerError } from "./errors.js";
import { reconnect } from "./reconnect.js";
import { DEFAULT_RETRY_POLICY, StreamRetry } from "./retry_policy.js";

/** Makes a call that returns the output from the position of the request on. */
type OpenOutput = (
  request: GetJobsStreamRequest,
  options: ConnectOptions,
) => AsyncIterable<GetJobsStreamResponse>;

/**
 * Reads the output of one job over as many calls as needed. A call that breaks is replaced by one that starts at
 * the same offset. Each message's offset is checked, so no byte is lost or duplicated.
 */
export class ResumableStream {
  readonly #connection: Connection;
  readonly #open: OpenOutput;
  // The next request. Its offset is the position of the stream: all bytes before it were yielded. A tail or a time
  // is resolved by the server, and replaced by the offset of the first message.
  readonly #request: GetJobsStreamRequest;
  readonly #retry: StreamRetry;

  constructor(
    connection: Connection,
    request: GetJobsStreamRequest,
    open: OpenOutput,
    policy = DEFAULT_RETRY_POLICY,
  ) {
    this.#connection = connection;
    this.#open = open;
    this.#request = request;
    this.#retry = new StreamRetry(policy);
  }

  /** The offset of the first byte that was not yielded yet. */
  get offset(): number {
    return Number(this.#request.offset);
  }

  /** Records that the server answers, although it sent no output. */
  madeProgress(): void {
    this.#retry.madeProgress();
  }

  /** Yields the output, and returns the job from the stream's last message. */
  async *chunks(context: CallContext): AsyncGenerator<Chunk, Job, undefined> {
    for (;;) {
      this.#retry.startCall();
      try {
        return yield* this.#readCall(context);
      } catch (error) {
        const failure = this.#connection.errorOf(error);
        this.#retry.failCall();
        if (!failure.retryable || !(await reconnect(this.#connection, this.#retry, context))) {
          throw failure;
        }
      }
    }
  }

  /** Reads one call to its end. */
  async *#readCall(context: CallContext): AsyncGenerator<Chunk, Job, undefined> {
    using call = new CallContext([context.signal], undefined);
    // A copy, because #request changes with each message.
    const request = clone(GetJobsStreamRequestSchema, this.#request);
    request.mixedSources = true;
    const options = { ...context.connectOptions, signal: call.signal };
    let result: Job | undefined;
    try {
      for await (const message of this.#open(request, options)) {
        this.#retry.madeProgress();
        yield* this.#accept(message);
        result ??= message.kind.case === "result" ? message.kind.value : undefined;
      }
    } catch (error) {
      context.signal.throwIfAborted();
      throw error;
    } finally {
      call.abort();
    }
    if (!result) {
      throw new JobWorkerError("the stream ended without the job's result", "UNAVAILABLE", {
        retryable: true,
      });
    }
    return result;
  }

  /** Checks the offset of a message and yields its chunks. Ignores kinds of messages that it does not know. */
  *#accept(message: GetJobsStreamResponse): Generator<Chunk, void, undefined> {
    const { kind } = message;
    switch (kind.case) {
      case "startOffset":
        this.#advanceTo(kind.value);
        break;
      case "truncated":
        this.#advanceTo(message.offset);
        this.#request.offset = kind.value.toOffset;
        yield truncatedChunk(kind.value);
        break;
      case "payload":
        this.#advanceTo(message.offset);
        for (const chunk of splitMessage(message, kind.value)) {
          this.#request.offset = BigInt(chunk.offset + chunk.data.length);
          yield chunk;
        }
    }
  }

  /** Moves to the offset of a message. Only a request for one source, a tail or a time can skip bytes. */
  #advanceTo(offset: bigint): void {
    const request = this.#request;
    const canSkip = request.source !== OutputSource.UNSPECIFIED || !isResolved(request);
    if (offset < request.offset || (offset > request.offset && !canSkip)) {
      throw new JobWorkerError(
        `the server sent output at offset ${offset}; expected offset ${request.offset}`,
        "DATA_LOSS",
      );
    }
    request.offset = offset;
    delete request.tailLines;
    delete request.tailBytes;
    delete request.since;
  }
}

/** Reports whether the request's offset is exact, because it names neither a tail nor a time. */
function isResolved(request: GetJobsStreamRequest): boolean {
  return request.tailLines === undefined && request.tailBytes === undefined && request.since === undefined;
}
