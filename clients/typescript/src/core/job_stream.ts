/** The output of a job as an asynchronous iterable. */

import type { Job } from "../gen/jobworker/v1/job_pb.js";
import type { CallContext } from "./call_context.js";
import type { Chunk } from "./chunk.js";
import { JobWorkerError } from "./errors.js";
import type { ResumableStream } from "./resumable_stream.js";

/**
 * A job's output, and the job at the end. The call starts with the iteration and ends with it, even if you leave
 * the loop early:
 *
 *     const stream = client.stream(job.id);
 *     for await (const chunk of stream) process.stdout.write(chunk.data);
 *     const { exitCode } = await stream.result();
 *
 * The stream resumes at the same offset if the connection breaks, the server restarts, or the server cuts the reader
 * off because it was too slow. No byte is lost or duplicated. The stream fails if the server is unavailable for 30 s.
 */
export class JobStream implements AsyncIterable<Chunk> {
  readonly #output: ResumableStream;
  readonly #chunks: AsyncGenerator<Chunk, void, undefined>;
  #job: Job | undefined;

  constructor(output: ResumableStream, open: () => CallContext) {
    this.#output = output;
    this.#chunks = this.#iterate(open);
  }

  /** The offset of the next byte. Another stream from this offset continues here. */
  get offset(): number {
    return this.#output.offset;
  }

  [Symbol.asyncIterator](): AsyncGenerator<Chunk, void, undefined> {
    return this.#chunks;
  }

  /**
   * Returns the job after the stream has ended. The job's status is final unless `follow` is false. Reads and
   * discards the rest of the output.
   */
  async result(): Promise<Job> {
    for await (const _ of this.#chunks) {
      // Discarded.
    }
    if (!this.#job) {
      throw new JobWorkerError(
        "the stream was closed before its end; use wait() to get the result",
        "CANCELLED",
      );
    }
    return this.#job;
  }

  async *#iterate(open: () => CallContext): AsyncGenerator<Chunk, void, undefined> {
    using context = open();
    this.#job = yield* this.#output.chunks(context);
  }
}
