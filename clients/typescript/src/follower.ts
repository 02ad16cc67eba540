/**
 * A job's output from where it was asked for to its end, over as many connections as it takes.
 *
 * The log is addressed by bytes, so a stream that breaks is taken up where it broke: what is handed on has
 * no gap and no byte twice, and each message's offset is checked against what it must be.
 */
import { clone } from "@bufbuild/protobuf";
import { type Chunk, gapOf, outputOf } from "./chunk.js";
import type { Connection } from "./connection.js";
import { fromCall, JobWorkerError } from "./errors.js";
import type { Job } from "./gen/jobworker/v1/job_pb.js";
import {
  type GetJobsStreamRequest,
  GetJobsStreamRequestSchema,
  type GetJobsStreamResponse,
  OutputSource,
} from "./gen/jobworker/v1/job_service_pb.js";
import { Scope } from "./scope.js";

/** For how long a server may be away, in milliseconds. */
export interface Patience {
  /** At the start, where it most likely is not there at all. */
  readonly connectMs: number;
  /** Once it has been there, where somebody is restarting it. */
  readonly resumeMs: number;
}

export const PATIENCE: Patience = { connectMs: 2_000, resumeMs: 30_000 };

// A stream that lived that long was a good one, even if the job was silent. In milliseconds.
const GOOD_AFTER_MS = 10_000;

const PAUSES_MS = [100, 200, 500, 1_000, 2_000];

/** One reader of one job's output. */
export class Follower {
  readonly #connection: Connection;
  // What is asked for next. Its offset is where the reader stands, with all bytes before it handed on and
  // none after it. The place of a tail or a time is for the server to find, and known from the first
  // message on.
  readonly #request: GetJobsStreamRequest;
  readonly #patience: Patience;
  #progress = false;
  #failures = 0;

  constructor(connection: Connection, request: GetJobsStreamRequest, patience = PATIENCE) {
    this.#connection = connection;
    this.#request = request;
    this.#patience = patience;
  }

  /** The position behind the last byte that was handed on. */
  get offset(): number {
    return Number(this.#request.offset);
  }

  /** Hands on all output, and returns the job as the stream's last message has it. */
  async *run(scope: Scope): AsyncGenerator<Chunk, Job, undefined> {
    let giveUp = performance.now() + this.#patience.connectMs;
    for (;;) {
      const began = performance.now();
      this.#progress = false;
      try {
        return yield* this.#read(scope);
      } catch (error) {
        const failure = fromCall(error, this.#connection.server);
        const now = performance.now();
        if (this.#progress || now - began > GOOD_AFTER_MS) {
          giveUp = now + this.#patience.resumeMs;
          this.#failures = 0;
        }
        if (!failure.retryable || !(await this.#regain(scope, giveUp))) {
          throw failure;
        }
      }
    }
  }

  async *#read(scope: Scope): AsyncGenerator<Chunk, Job, undefined> {
    using call = new Scope([scope.signal], undefined);
    // A copy: what is asked for next changes with each message, what was asked for does not.
    const asked = clone(GetJobsStreamRequestSchema, this.#request);
    asked.mixedSources = true;
    const options = { ...scope.connectOptions, signal: call.signal };
    let result: Job | undefined;
    try {
      for await (const message of this.#connection.stub.getJobsStream(asked, options)) {
        this.#progress = true;
        yield* this.#take(message);
        result ??= message.result;
      }
    } catch (error) {
      scope.signal.throwIfAborted();
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

  *#take(message: GetJobsStreamResponse): Generator<Chunk, void, undefined> {
    if (message.result) {
      return;
    }
    this.#standAt(message.offset);
    if (message.truncated) {
      this.#request.offset = message.truncated.toOffset;
      yield gapOf(message.truncated);
    }
    for (const output of outputOf(message)) {
      this.#request.offset = BigInt(output.offset + output.data.length);
      yield output;
    }
  }

  #standAt(offset: bigint): void {
    const request = this.#request;
    const mayBeLater = request.source !== OutputSource.UNSPECIFIED || !isFound(request);
    if (offset !== request.offset && !(offset > request.offset && mayBeLater)) {
      throw new JobWorkerError(
        `the server sent byte ${offset} of the output where byte ${request.offset} was due`,
        "DATA_LOSS",
      );
    }
    request.offset = offset;
    delete request.tailLines;
    delete request.tailBytes;
    delete request.since;
  }

  /** Waits, and returns true once there is a connection again, false when it is too late for one. */
  async #regain(scope: Scope, giveUp: number): Promise<boolean> {
    for (;;) {
      const left = giveUp - performance.now();
      if (left <= 0) {
        return false;
      }
      await scope.sleep(Math.min(PAUSES_MS[this.#failures] ?? 2_000, left));
      this.#failures += 1;
      if (await this.#connects(scope, giveUp)) {
        return true;
      }
    }
  }

  async #connects(scope: Scope, giveUp: number): Promise<boolean> {
    using attempt = new Scope([scope.signal], Math.max(1, giveUp - performance.now()));
    try {
      return await attempt.race(this.#connection.isOpen());
    } catch {
      scope.signal.throwIfAborted();
      return false;
    }
  }
}

/** Tells whether the request's offset is its place, rather than the earliest that it may be. */
function isFound(request: GetJobsStreamRequest): boolean {
  return request.tailLines === undefined && request.tailBytes === undefined && request.since === undefined;
}
