/** The calls of every client: one method per RPC. */
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs, timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { Node } from "../gen/jobworker/v1/cluster_service_pb.js";
import { AttachStartSchema } from "../gen/jobworker/v1/job_attach_pb.js";
import { OutputSource } from "../gen/jobworker/v1/job_output_pb.js";
import type { Job } from "../gen/jobworker/v1/job_pb.js";
import {
  type CreateJobRequestSchema,
  type GetJobsStreamRequest,
  GetJobsStreamRequestSchema,
  type ListJobsRequestSchema,
  type UpdateJobRequestSchema,
} from "../gen/jobworker/v1/job_service_pb.js";
import { WatchJobsRequestSchema } from "../gen/jobworker/v1/job_watch_pb.js";
import type { TerminalSize } from "./attach_messages.js";
import { Attachment } from "./attachment.js";
import { CallContext, type CallOptions, type ConnectOptions } from "./call_context.js";
import type { Source } from "./chunk.js";
import type { Connection } from "./connection.js";
import { JobWorkerError } from "./errors.js";
import { JobStream } from "./job_stream.js";
import { waitForEnd } from "./job_wait.js";
import { JobWatch } from "./job_watch.js";
import { ResumableStream } from "./resumable_stream.js";
import { retryCall } from "./retry.js";

/** The fields of `CreateJobRequest`. Only `command` is required. */
export type JobRequest = MessageInitShape<typeof CreateJobRequestSchema>;

type ListFields = MessageInitShape<typeof ListJobsRequestSchema>;
type CreationTimes = "createdAfter" | "createdBefore";

/** The filters of `list`. A job must match all of them. `pageSize` is the number of jobs per request. */
export interface JobFilter extends Omit<ListFields, "$typeName" | "pageToken" | CreationTimes> {
  /** Only jobs that the server accepted at this time or later. */
  readonly createdAfter?: Date | undefined;
  /** Only jobs that the server accepted before this time. */
  readonly createdBefore?: Date | undefined;
}

type WatchFields = MessageInitShape<typeof WatchJobsRequestSchema>;

/** The filters of `watch`. A job must match all of them. `maxFinalJobs` bounds the ended jobs at the start. */
export interface WatchFilter extends Omit<WatchFields, "$typeName" | "cursor" | CreationTimes> {
  /** Only jobs that the server accepted at this time or later. */
  readonly createdAfter?: Date | undefined;
  /** Only jobs that the server accepted before this time. */
  readonly createdBefore?: Date | undefined;
}

/** The limits to change. Limits that are not set do not change. */
export type LimitChanges = Omit<MessageInitShape<typeof UpdateJobRequestSchema>, "$typeName" | "id">;

/** Options of `stop`. Without `timeoutMs`, `stop` returns when the job has ended. */
export interface StopOptions extends CallOptions {
  /**
   * Time between the stop signal and the kill, in milliseconds. Default: the grace period that the job was created
   * with.
   */
  readonly gracePeriodMs?: number | undefined;
}

/**
 * Options of `stream`. If several of `offset`, `tailLines`, `tailBytes` and `since` are set, the stream starts at the
 * latest position. Without `timeoutMs`, the stream lasts as long as the job.
 */
export interface StreamOptions extends CallOptions {
  /** Offset of the first byte. Offsets count the bytes of stdout and stderr together, from 0. */
  readonly offset?: number | bigint | undefined;
  /** Number of lines before the current end of the output. 0 = only new output. */
  readonly tailLines?: number | bigint | undefined;
  /** Number of bytes before the current end of the output. */
  readonly tailBytes?: number | bigint | undefined;
  /** Time at which the server read the first output. */
  readonly since?: Date | undefined;
  /** Only the output of this stream. Default: both. */
  readonly source?: Source | undefined;
  /** False = end at the current end of the output. Default: true. */
  readonly follow?: boolean | undefined;
}

/**
 * Options of `attach`. If both `offset` and `tailBytes` are set, the output starts at the latest position. Without
 * `timeoutMs`, the attachment lasts as long as the job.
 */
export interface AttachOptions extends CallOptions, Pick<StreamOptions, "offset" | "tailBytes"> {
  /** False = send only signals, for a job that reads no input or that another client feeds. Default: true. */
  readonly input?: boolean | undefined;
  /** True = replace another client that feeds the job. Default: false. */
  readonly takeOver?: boolean | undefined;
  /** The size of the client's terminal, for a job with a terminal. */
  readonly size?: TerminalSize | undefined;
  /** True = let the programs in the terminal draw their screen again. Default: false. */
  readonly redraw?: boolean | undefined;
}

/**
 * A client of one server. It connects when it makes the first call. One client is enough for a program.
 *
 * Methods fail with a `JobWorkerError`. Calls are retried while the server is unavailable, and streams resume at their
 * offset.
 */
export abstract class JobClient implements Disposable {
  readonly #connection: Connection;
  readonly #timeoutMs: number;
  readonly #closing = new AbortController();

  protected constructor(connection: Connection, timeoutMs: number) {
    this.#connection = connection;
    this.#timeoutMs = timeoutMs;
  }

  /**
   * Starts a job and returns when its command runs. With `queueTimeout`, a job that the server has no room for is
   * returned with status QUEUED. A request without a `requestId` gets a random one, so that a retry never starts a second
   * job.
   */
  async create(request: JobRequest, options: CallOptions = {}): Promise<Job> {
    const retryable = { ...request, requestId: request.requestId || crypto.randomUUID() };
    return jobOf(await this.#call(options, this.#timeoutMs, (stub, call) => stub.createJob(retryable, call)));
  }

  /** Returns a job by its complete id. */
  async get(id: string, options: CallOptions = {}): Promise<Job> {
    return jobOf(await this.#call(options, this.#timeoutMs, (stub, call) => stub.getJob({ id }, call)));
  }

  /** Yields the jobs that match, newest first. `timeoutMs` bounds the request of each page. */
  async *list(filter: JobFilter = {}, options: CallOptions = {}): AsyncGenerator<Job, void, undefined> {
    const filters = withTimes(filter);
    let pageToken = "";
    do {
      const request = { ...filters, pageToken };
      const page = await this.#call(options, this.#timeoutMs, (stub, call) => stub.listJobs(request, call));
      yield* page.jobs;
      pageToken = page.nextPageToken;
    } while (pageToken);
  }

  /**
   * Yields the nodes of the cluster, by name. `timeoutMs` bounds the request of each page. Only a gateway has nodes: the
   * call of a single host fails with UNIMPLEMENTED.
   */
  async *listNodes(options: CallOptions = {}): AsyncGenerator<Node, void, undefined> {
    const { clusterStub } = this.#connection;
    let pageToken = "";
    do {
      const request = { pageToken };
      const page = await this.#call(options, this.#timeoutMs, (_, call) =>
        clusterStub.listNodes(request, call),
      );
      yield* page.nodes;
      pageToken = page.nextPageToken;
    } while (pageToken);
  }

  /** Stops a job and returns it in its final status. A job that has already ended is returned unchanged. */
  async stop(id: string, options: StopOptions = {}): Promise<Job> {
    const { gracePeriodMs } = options;
    const gracePeriod = gracePeriodMs === undefined ? {} : { gracePeriod: durationFromMs(gracePeriodMs) };
    return jobOf(
      await this.#call(options, undefined, (stub, call) => stub.stopJob({ id, ...gracePeriod }, call)),
    );
  }

  /** Deletes a job that has ended: its record and its output. */
  async delete(id: string, options: CallOptions = {}): Promise<void> {
    let attempts = 0;
    try {
      await this.#call(options, this.#timeoutMs, (stub, call) => {
        attempts += 1;
        return stub.deleteJob({ id }, call);
      });
    } catch (error) {
      // An earlier attempt deleted the job, but its response was lost.
      if (attempts === 1 || !(error instanceof JobWorkerError) || error.reason !== "JOB_NOT_FOUND") {
        throw error;
      }
    }
  }

  /** Changes limits of a running job and returns the job with the limits that the kernel applied. */
  async update(id: string, limits: LimitChanges, options: CallOptions = {}): Promise<Job> {
    const request = { ...limits, id };
    return jobOf(await this.#call(options, this.#timeoutMs, (stub, call) => stub.updateJob(request, call)));
  }

  /** Returns a job when its status is final. It reconnects if the server restarts. */
  async wait(id: string, options: CallOptions = {}): Promise<Job> {
    using context = this.#context(options, undefined);
    return jobOf(await waitForEnd(this.#connection, id, context));
  }

  /** Returns the output of a job. The first iteration makes the call. */
  stream(id: string, options: StreamOptions = {}): JobStream {
    return this.#stream(streamRequest(id, options), options);
  }

  /**
   * Passes input and signals to a job, and returns its output. The call starts at once. The job needs an open stdin or a
   * terminal: set `stdin` or `terminal` in `create`.
   */
  attach(id: string, options: AttachOptions = {}): Attachment {
    return new Attachment(...this.attachment(id, options));
  }

  /** Returns the parameters of an attachment. */
  protected attachment(id: string, options: AttachOptions): ConstructorParameters<typeof Attachment> {
    const { input = true, takeOver = false, redraw = false, size } = options;
    const output = streamRequest(id, { offset: options.offset, tailBytes: options.tailBytes });
    const start = create(AttachStartSchema, {
      id,
      inputId: input ? crypto.randomUUID() : "",
      takeOver,
      redraw,
      ...(output.tailBytes === undefined ? {} : { tailBytes: output.tailBytes }),
      ...(size ? { size } : {}),
    });
    return [this.#connection, start, output, this.#context(options, undefined)];
  }

  /** Returns the jobs that match, and then each change. The first iteration makes the call. */
  watch(filter: WatchFilter = {}, options: CallOptions = {}): JobWatch {
    const request = create(WatchJobsRequestSchema, withTimes(filter));
    return new JobWatch(this.#connection, request, () => this.#context(options, undefined));
  }

  /** Closes the connection. Open calls fail with CANCELLED. */
  close(): void {
    this.#closing.abort(new JobWorkerError("the client was closed", "CANCELLED"));
    this.#connection.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #stream(request: GetJobsStreamRequest, options: CallOptions): JobStream {
    const output = new ResumableStream(this.#connection, request, this.#connection.stub.getJobsStream);
    return new JobStream(output, () => this.#context(options, undefined));
  }

  async #call<T>(
    options: CallOptions,
    defaultTimeoutMs: number | undefined,
    method: (stub: Connection["stub"], call: ConnectOptions) => Promise<T>,
  ): Promise<T> {
    using context = this.#context(options, defaultTimeoutMs);
    return await retryCall((call) => method(this.#connection.stub, call), context, this.#connection);
  }

  #context({ signal, timeoutMs }: CallOptions, defaultTimeoutMs: number | undefined): CallContext {
    return new CallContext([this.#closing.signal, signal], timeoutMs ?? defaultTimeoutMs);
  }
}

function jobOf(response: { job?: Job | undefined }): Job {
  if (!response.job) {
    throw new JobWorkerError("the server's response has no job", "INTERNAL");
  }
  return response.job;
}

function withTimes<T extends JobFilter | WatchFilter>({ createdAfter, createdBefore, ...others }: T) {
  return {
    ...others,
    ...(createdAfter ? { createdAfter: timestampFromDate(createdAfter) } : {}),
    ...(createdBefore ? { createdBefore: timestampFromDate(createdBefore) } : {}),
  };
}

function streamRequest(id: string, options: StreamOptions): GetJobsStreamRequest {
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
