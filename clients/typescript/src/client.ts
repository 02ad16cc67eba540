/** The methods of the service, as a program wants them. */
import { randomUUID } from "node:crypto";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs, timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { Source } from "./chunk.js";
import { Connection } from "./connection.js";
import { JobWorkerError } from "./errors.js";
import { Follower } from "./follower.js";
import type { Job } from "./gen/jobworker/v1/job_pb.js";
import {
  type CreateJobRequestSchema,
  type GetJobsStreamRequest,
  GetJobsStreamRequestSchema,
  type ListJobsRequestSchema,
  OutputSource,
  type UpdateJobRequestSchema,
} from "./gen/jobworker/v1/job_service_pb.js";
import { JobStream } from "./job_stream.js";
import { repeat } from "./repeat.js";
import { type CallOptions, type ConnectOptions, Scope } from "./scope.js";
import { type ClientOptions, optionsFromEnv, settingsOf } from "./settings.js";

/** What to run, and how: the fields of `CreateJobRequest`, of which only `command` is needed. */
export type JobRequest = MessageInitShape<typeof CreateJobRequestSchema>;

/** Which jobs to list: a job must fit every filter that is set. `pageSize` is how many come in one answer. */
export type JobFilter = Omit<MessageInitShape<typeof ListJobsRequestSchema>, "$typeName" | "pageToken">;

/** Which limits to change: the fields of `UpdateJobRequest`, of which those that are not set stay. */
export type LimitChanges = Omit<MessageInitShape<typeof UpdateJobRequestSchema>, "$typeName" | "id">;

/** What `stop` takes. Without `timeoutMs` it takes as long as the job does. */
export interface StopOptions extends CallOptions {
  /** How long the job is left alive after its stop signal, in milliseconds. Default: as it was created. */
  readonly gracePeriodMs?: number | undefined;
}

/**
 * Which part of the output to stream: it begins at the latest of the places that are named. Without
 * `timeoutMs` a stream takes as long as the job does.
 */
export interface StreamOptions extends CallOptions {
  /** The first byte, counted from 0 over stdout and stderr together. */
  readonly offset?: number | bigint | undefined;
  /** So many lines before the end of what is there; 0 = only what comes. */
  readonly tailLines?: number | bigint | undefined;
  /** So many bytes before the end of what is there. */
  readonly tailBytes?: number | bigint | undefined;
  /** The first output that the server read at this time or later. */
  readonly since?: Date | undefined;
  /** What the job wrote to this stream only. */
  readonly source?: Source | undefined;
  /** False = what is there now, and no more. Default: true. */
  readonly follow?: boolean | undefined;
}

/**
 * A client of one server. It connects with the first call; one client is enough for a program.
 *
 * Methods fail with a `JobWorkerError`. A call that is safe to repeat is repeated while the server is
 * away for a moment; a stream goes on from its offset.
 */
export class Client implements Disposable {
  readonly #connection: Connection;
  readonly #timeoutMs: number;
  readonly #closing = new AbortController();

  /** Throws a `ConfigurationError` if the options or the certificates cannot be used. */
  constructor(options: ClientOptions = {}) {
    const settings = settingsOf(options);
    this.#connection = new Connection(settings);
    this.#timeoutMs = settings.timeoutMs;
  }

  /** Makes a client as the variables `JOBWORKER_…` say; `options` come before them. */
  static fromEnv(options: ClientOptions = {}, env: NodeJS.ProcessEnv = process.env): Client {
    const given = Object.entries(options).filter(([, value]) => value !== undefined);
    return new Client({ ...optionsFromEnv(env), ...Object.fromEntries(given) });
  }

  /** Starts a job, once: repeated calls have one `requestId`, the client's own if there is none. */
  async create(request: JobRequest, options: CallOptions = {}): Promise<Job> {
    const once = { ...request, requestId: request.requestId || randomUUID() };
    return jobOf(await this.#call(options, this.#timeoutMs, (stub, call) => stub.createJob(once, call)));
  }

  /** Returns a job by its whole id. */
  async get(id: string, options: CallOptions = {}): Promise<Job> {
    return jobOf(await this.#call(options, this.#timeoutMs, (stub, call) => stub.getJob({ id }, call)));
  }

  /** Yields jobs, newest first, page by page; `timeoutMs` is for one page. */
  async *list(filter: JobFilter = {}, options: CallOptions = {}): AsyncGenerator<Job, void, undefined> {
    let pageToken = "";
    do {
      const request = { ...filter, pageToken };
      const page = await this.#call(options, this.#timeoutMs, (stub, call) => stub.listJobs(request, call));
      yield* page.jobs;
      pageToken = page.nextPageToken;
    } while (pageToken);
  }

  /** Ends a job and returns it, final. One that had ended already is returned as it is. */
  async stop(id: string, options: StopOptions = {}): Promise<Job> {
    const { gracePeriodMs } = options;
    const gracePeriod = gracePeriodMs === undefined ? {} : { gracePeriod: durationFromMs(gracePeriodMs) };
    return jobOf(
      await this.#call(options, undefined, (stub, call) => stub.stopJob({ id, ...gracePeriod }, call)),
    );
  }

  /** Changes the limits of a running job that are given, and returns it with what the kernel made of them. */
  async update(id: string, limits: LimitChanges, options: CallOptions = {}): Promise<Job> {
    const request = { ...limits, id };
    return jobOf(await this.#call(options, this.#timeoutMs, (stub, call) => stub.updateJob(request, call)));
  }

  /** Returns a job once it is final. Without `timeoutMs` this takes as long as the job does. */
  async wait(id: string, options: CallOptions = {}): Promise<Job> {
    return await this.#stream(create(GetJobsStreamRequestSchema, { id, resultOnly: true }), options).result();
  }

  /** Streams a job's output; see `JobStream`. It goes on by itself where a connection broke. */
  stream(id: string, options: StreamOptions = {}): JobStream {
    return this.#stream(requestOf(id, options), options);
  }

  /** Ends the connection, and the calls that are open, which fail with CANCELLED. */
  close(): void {
    this.#closing.abort(new JobWorkerError("the client was closed", "CANCELLED"));
    this.#connection.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #stream(request: GetJobsStreamRequest, options: CallOptions): JobStream {
    return new JobStream(new Follower(this.#connection, request), () => this.#scope(options, undefined));
  }

  async #call<T>(
    options: CallOptions,
    defaultTimeoutMs: number | undefined,
    method: (stub: Connection["stub"], call: ConnectOptions) => Promise<T>,
  ): Promise<T> {
    using scope = this.#scope(options, defaultTimeoutMs);
    return await repeat((call) => method(this.#connection.stub, call), scope, this.#connection.server);
  }

  #scope({ signal, timeoutMs }: CallOptions, defaultTimeoutMs: number | undefined): Scope {
    return new Scope([this.#closing.signal, signal], timeoutMs ?? defaultTimeoutMs);
  }
}

function jobOf(response: { job?: Job | undefined }): Job {
  if (!response.job) {
    throw new JobWorkerError("the server's answer has no job", "INTERNAL");
  }
  return response.job;
}

function requestOf(id: string, options: StreamOptions): GetJobsStreamRequest {
  const { offset, tailLines, tailBytes, since, source, follow } = options;
  return create(GetJobsStreamRequestSchema, {
    id,
    offset: BigInt(offset ?? 0),
    source: sourceOf(source),
    ...(tailLines === undefined ? {} : { tailLines: BigInt(tailLines) }),
    ...(tailBytes === undefined ? {} : { tailBytes: BigInt(tailBytes) }),
    ...(since === undefined ? {} : { since: timestampFromDate(since) }),
    ...(follow === undefined ? {} : { follow }),
  });
}

function sourceOf(source: Source | undefined): OutputSource {
  switch (source) {
    case undefined:
      return OutputSource.UNSPECIFIED;
    case "stdout":
      return OutputSource.STDOUT;
    case "stderr":
      return OutputSource.STDERR;
  }
}
