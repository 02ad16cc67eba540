/** The output of a job as callers have it: something to iterate over, with the job's result at the end. */
import type { Chunk } from "./chunk.js";
import { JobWorkerError } from "./errors.js";
import type { Follower } from "./follower.js";
import type { Job } from "./gen/jobworker/v1/job_pb.js";
import type { Scope } from "./scope.js";

/**
 * A job's output. The call begins with the iteration and ends with it, also if it is left early:
 *
 *     const stream = client.stream(job.id);
 *     for await (const chunk of stream) process.stdout.write(chunk.data);
 *     const { exitCode } = await stream.result();
 */
export class JobStream implements AsyncIterable<Chunk> {
  readonly #follower: Follower;
  readonly #chunks: AsyncGenerator<Chunk, void, undefined>;
  #job: Job | undefined;

  constructor(follower: Follower, open: () => Scope) {
    this.#follower = follower;
    this.#chunks = this.#iterate(open);
  }

  /** The position behind the last byte that was handed out: where another stream would go on. */
  get offset(): number {
    return this.#follower.offset;
  }

  [Symbol.asyncIterator](): AsyncGenerator<Chunk, void, undefined> {
    return this.#chunks;
  }

  /**
   * Returns the job as it was when the stream ended: final, unless `follow` was false. What has not been
   * iterated over is read and thrown away.
   */
  async result(): Promise<Job> {
    for await (const _ of this.#chunks) {
      // Only the end counts.
    }
    if (!this.#job) {
      throw new JobWorkerError("the stream was left before its end: wait() returns the result", "CANCELLED");
    }
    return this.#job;
  }

  async *#iterate(open: () => Scope): AsyncGenerator<Chunk, void, undefined> {
    using scope = open();
    this.#job = yield* this.#follower.run(scope);
  }
}
