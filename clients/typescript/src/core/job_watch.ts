/** The jobs that match a filter, and their changes, over as many calls as needed. */
import { clone, equals } from "@bufbuild/protobuf";
import { type Job, JobSchema } from "../gen/jobworker/v1/job_pb.js";
import {
  type JobChange,
  RemovalReason,
  type WatchJobsRequest,
  WatchJobsRequestSchema,
  type WatchJobsResponse,
} from "../gen/jobworker/v1/job_watch_pb.js";
import { CallContext } from "./call_context.js";
import type { Connection } from "./connection.js";
import { JobWorkerError } from "./errors.js";
import { reconnect } from "./reconnect.js";
import { DEFAULT_RETRY_POLICY, StreamRetry } from "./retry_policy.js";

/** A job matches and is new, or has changed. A running job has no usage. */
export interface JobChanged {
  readonly type: "changed";
  readonly job: Job;
}

/**
 * A job does not match any more, or does not exist. `job` is its last known state. It is undefined for an id of the
 * filter that does not exist. `reason` is UNSPECIFIED if the job was removed while the server or the client was away.
 */
export interface JobRemoved {
  readonly type: "removed";
  readonly id: string;
  readonly reason: RemovalReason;
  readonly job: Job | undefined;
}

/** All jobs that match are known. Follows the first jobs, and the changes after each reconnect. */
export interface WatchSynced {
  readonly type: "synced";
}

export type WatchEvent = JobChanged | JobRemoved | WatchSynced;

/**
 * The jobs that match a filter, and then each change. The call starts with the iteration and ends with it:
 *
 *     for await (const event of client.watch({ labels })) {
 *       if (event.type === "changed") console.log(event.job.id, JobStatus[event.job.status]);
 *     }
 *
 * The watch continues without a gap if the connection breaks or the server restarts. A slow reader gets the newest state
 * of each job, and always the final status. The watch fails if the server is unavailable for 30 s.
 */
export class JobWatch implements AsyncIterable<WatchEvent> {
  readonly #connection: Connection;
  // The next request. Its cursor is that of the last bookmark.
  readonly #request: WatchJobsRequest;
  readonly #events: AsyncGenerator<WatchEvent, void, undefined>;
  readonly #retry = new StreamRetry(DEFAULT_RETRY_POLICY);
  readonly #jobs = new Map<string, Job>();
  // The known jobs that a snapshot has not contained yet.
  #unconfirmed = new Set<string>();
  #revision = 0n;
  #synced = false;

  constructor(connection: Connection, request: WatchJobsRequest, open: () => CallContext) {
    this.#connection = connection;
    this.#request = request;
    this.#events = this.#iterate(open);
  }

  /** The jobs that match, by id. */
  get jobs(): ReadonlyMap<string, Job> {
    return this.#jobs;
  }

  [Symbol.asyncIterator](): AsyncGenerator<WatchEvent, void, undefined> {
    return this.#events;
  }

  async *#iterate(open: () => CallContext): AsyncGenerator<WatchEvent, void, undefined> {
    using context = open();
    for (;;) {
      this.#retry.startCall();
      try {
        yield* this.#readCall(context);
      } catch (error) {
        const failure = this.#connection.errorOf(error);
        this.#retry.failCall();
        if (!failure.retryable || !(await reconnect(this.#connection, this.#retry, context))) {
          throw failure;
        }
      }
    }
  }

  /** Reads one call until it breaks. */
  async *#readCall(context: CallContext): AsyncGenerator<WatchEvent, never, undefined> {
    using call = new CallContext([context.signal], undefined);
    this.#synced = false;
    if (!this.#request.cursor) {
      this.#startSnapshot();
    }
    const request = clone(WatchJobsRequestSchema, this.#request);
    const options = { ...context.connectOptions, signal: call.signal };
    try {
      for await (const message of this.#connection.stub.watchJobs(request, options)) {
        this.#retry.madeProgress();
        yield* this.#accept(message);
      }
    } catch (error) {
      context.signal.throwIfAborted();
      throw error;
    } finally {
      call.abort();
    }
    throw new JobWorkerError("the server ended the watch", "UNAVAILABLE", { retryable: true });
  }

  /** Yields the events of a message. Ignores kinds of messages that it does not know. */
  *#accept({ kind }: WatchJobsResponse): Generator<WatchEvent, void, undefined> {
    switch (kind.case) {
      case "changed":
        yield* this.#change(kind.value);
        break;
      case "removed":
        if (this.#isNew(kind.value.revision)) {
          yield* this.#remove(kind.value.id, kind.value.reason);
        }
        break;
      case "reset":
        this.#request.cursor = "";
        this.#synced = false;
        this.#startSnapshot();
        break;
      case "bookmark":
        this.#request.cursor = kind.value.cursor;
        yield* this.#sync();
    }
  }

  #startSnapshot(): void {
    this.#revision = 0n;
    this.#unconfirmed = new Set(this.#jobs.keys());
  }

  /** Reports whether a change was not received before the connection broke. 0 is part of a snapshot. */
  #isNew(revision: bigint): boolean {
    if (revision !== 0n && revision < this.#revision) {
      return false;
    }
    this.#revision = revision > this.#revision ? revision : this.#revision;
    return true;
  }

  *#change({ job, revision }: JobChange): Generator<WatchEvent, void, undefined> {
    if (!job || !this.#isNew(revision)) {
      return;
    }
    this.#unconfirmed.delete(job.id);
    const known = this.#jobs.get(job.id);
    if (!known || !equals(JobSchema, known, job)) {
      this.#jobs.set(job.id, job);
      yield { type: "changed", job };
    }
  }

  *#remove(id: string, reason: RemovalReason): Generator<WatchEvent, void, undefined> {
    const job = this.#jobs.get(id);
    this.#jobs.delete(id);
    if (job || reason === RemovalReason.NOT_FOUND) {
      yield { type: "removed", id, reason, job };
    }
  }

  /** Removes the jobs that a new snapshot does not have, at its end. */
  *#sync(): Generator<WatchEvent, void, undefined> {
    for (const id of this.#unconfirmed) {
      yield* this.#remove(id, RemovalReason.UNSPECIFIED);
    }
    this.#unconfirmed = new Set();
    if (!this.#synced) {
      this.#synced = true;
      yield { type: "synced" };
    }
  }
}
