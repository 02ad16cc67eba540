/** An attachment to a job: its output as an asynchronous iterable, and its input. */

import type { AttachStart } from "../gen/jobworker/v1/job_attach_pb.js";
import type { Job, TerminalResize } from "../gen/jobworker/v1/job_pb.js";
import type { GetJobsStreamRequest, GetJobsStreamResponse } from "../gen/jobworker/v1/job_service_pb.js";
import { AttachMessages } from "./attach_messages.js";
import { BoundedQueue } from "./bounded_queue.js";
import type { CallContext, ConnectOptions } from "./call_context.js";
import type { Chunk } from "./chunk.js";
import type { Connection } from "./connection.js";
import { JobWorkerError } from "./errors.js";
import { ResumableStream } from "./resumable_stream.js";

// How many chunks the client receives before they are read.
const BUFFERED_CHUNKS = 16;

// How long `detach` waits for the server's answer.
const DETACH_TIMEOUT_MS = 1_000;

/** Options of `resize`. */
export interface ResizeOptions {
  /** True = let the programs in the terminal draw their screen again. Default: false. */
  readonly redraw?: boolean | undefined;
}

/**
 * Passes input and signals to a job, and iterates over its output:
 *
 *     await using attachment = client.attach(job.id);
 *     await attachment.write(Buffer.from("hello\n"));
 *     await attachment.end();
 *     for await (const chunk of attachment) process.stdout.write(chunk.data);
 *     const { exitCode } = await attachment.result();
 *
 * The attachment continues where it stopped if the connection breaks or the server restarts. No byte of the input or the
 * output is lost or duplicated. It fails if the server is unavailable for 30 s.
 *
 * The call starts at once. It ends with the job, with `detach`, and when you leave the loop over the output early. When
 * the client has buffered some output, `write` waits until it is read.
 */
export class Attachment implements AsyncIterable<Chunk>, AsyncDisposable {
  readonly #connection: Connection;
  readonly #context: CallContext;
  readonly #messages: AttachMessages;
  readonly #hasInput: boolean;
  readonly #stream: ResumableStream;
  readonly #received = new BoundedQueue<Chunk>(BUFFERED_CHUNKS);
  readonly #chunks: AsyncGenerator<Chunk, void, undefined>;
  readonly #ended: Promise<void>;
  #offset: number;
  #job: Job | undefined;
  #failure: JobWorkerError | undefined;
  #size: TerminalResize | undefined;
  #isDetaching = false;
  #isInputEnded = false;
  // The last write. The next one waits for it.
  #turn: Promise<void> = Promise.resolve();

  constructor(
    connection: Connection,
    start: AttachStart,
    output: GetJobsStreamRequest,
    context: CallContext,
  ) {
    this.#connection = connection;
    this.#context = context;
    this.#messages = new AttachMessages(start);
    this.#hasInput = start.inputId !== "";
    this.#stream = new ResumableStream(connection, output, (request, options) =>
      this.#call(request, options),
    );
    this.#offset = this.#stream.offset;
    this.#chunks = this.#iterate();
    this.#ended = this.#receive();
  }

  /** The offset of the next byte of the output. */
  get offset(): number {
    return this.#offset;
  }

  /**
   * The newest size of the job's terminal, and from which offset of the output it holds. Undefined until the server has
   * sent the size, and if the job has no terminal. `terminalResizes` of the job has all sizes.
   */
  get terminalSize(): TerminalResize | undefined {
    return this.#size;
  }

  [Symbol.asyncIterator](): AsyncGenerator<Chunk, void, undefined> {
    return this.#chunks;
  }

  /**
   * Sends input. Resolves when the server has accepted the data, which waits while the job does not read it. Fails with
   * FAILED_PRECONDITION after `end` and after the end of the job.
   *
   * Up to 256 KiB are sent before the server has answered, so larger pieces give the highest throughput.
   */
  async write(data: Uint8Array): Promise<void> {
    await this.#inTurn(async () => {
      if (!this.#hasInput || this.#isInputEnded) {
        throw inputError(this.#hasInput ? "the input has ended" : "the attachment has no input");
      }
      await this.#messages.write(data);
    });
  }

  /**
   * Ends the input: the job reads the end of file after the last byte. The output continues. Has no effect after the end
   * of the job.
   *
   * A job with a terminal can ignore the end, which is sent once, as Ctrl-D does. Write "\x04" to send it several times.
   */
  async end(): Promise<void> {
    await this.#inTurn(async () => {
      if (this.#hasInput && !this.#isInputEnded) {
        this.#isInputEnded = true;
        await this.#messages.end().catch(() => this.#throwFailure());
      }
    });
  }

  /**
   * Sends a signal, such as SIGINT, to the foreground process group of the job's terminal. Without a terminal, it is sent
   * to the process group of the job. The signal waits for a connection. If the server refuses it, the attachment fails.
   */
  signal(name: string): void {
    this.#messages.control({ case: "signal", value: { name } });
  }

  /**
   * Reports the size of the client's terminal in characters. The terminal of the job is as small as the smallest terminal
   * of the clients that feed it. With `redraw`, the programs in the terminal draw their screen again, also at the same
   * size: for a client whose terminal has lost its content.
   */
  resize(columns: number, rows: number, options: ResizeOptions = {}): void {
    const { redraw = false } = options;
    this.#messages.control({ case: "resize", value: { columns, rows, redraw } });
  }

  /**
   * Ends the attachment. The job keeps running, and gets the signals that were sent before. The iteration ends without an
   * error.
   */
  async detach(): Promise<void> {
    if (!this.#isDetaching) {
      this.#isDetaching = true;
      this.#received.discard();
      this.#messages.control({ case: "detach", value: {} });
    }
    const timer = setTimeout(() => this.#context.abort(), DETACH_TIMEOUT_MS);
    await this.#ended;
    clearTimeout(timer);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.detach();
  }

  /** Returns the final job after the output has ended. Reads and discards the rest of the output. */
  async result(): Promise<Job> {
    for await (const _ of this.#chunks) {
      // Discarded.
    }
    if (!this.#job) {
      throw new JobWorkerError(
        "detached before the end of the job; use wait() to get the result",
        "CANCELLED",
      );
    }
    return this.#job;
  }

  /** Makes one write after the other, so that each write is sent whole. */
  async #inTurn(write: () => Promise<void>): Promise<void> {
    const written = this.#turn.then(write);
    this.#turn = written.catch(() => undefined);
    await written;
  }

  async *#iterate(): AsyncGenerator<Chunk, void, undefined> {
    try {
      for await (const chunk of this.#received) {
        this.#offset = chunk.truncated ? chunk.truncated.toOffset : chunk.offset + chunk.data.length;
        yield chunk;
      }
    } finally {
      await this.detach();
    }
  }

  /** Receives the output until the end of the attachment. Input is thus sent even if the output is not read. */
  async #receive(): Promise<void> {
    try {
      const chunks = this.#stream.chunks(this.#context);
      for (let next = await chunks.next(); ; next = await chunks.next()) {
        if (next.done) {
          this.#job = next.value;
          break;
        }
        await this.#context.race(this.#received.put(next.value));
      }
    } catch (error) {
      this.#failure = this.#isDetaching ? undefined : this.#connection.errorOf(error);
    }
    this.#context[Symbol.dispose]();
    this.#messages.close(
      this.#failure ?? inputError(this.#job ? "the job has ended" : "the client has detached"),
    );
    this.#received.close(this.#failure);
  }

  #throwFailure(): void {
    if (this.#failure) {
      throw this.#failure;
    }
  }

  /** Makes a call that continues the output. Returns the messages of the output, and handles the others. */
  async *#call(
    request: GetJobsStreamRequest,
    options: ConnectOptions,
  ): AsyncGenerator<GetJobsStreamResponse, void, undefined> {
    try {
      for await (const { kind } of this.#connection.stub.attachJob(this.#messages.call(request), options)) {
        switch (kind.case) {
          case "output":
            yield kind.value;
            break;
          case "inputAccepted":
            this.#stream.madeProgress();
            this.#messages.accepted(kind.value.offset);
            break;
          case "resized":
            this.#resized(kind.value);
        }
      }
    } catch (error) {
      this.#throwIfDetaching();
      throw error;
    }
    this.#throwIfDetaching();
  }

  /** Throws an error that is not retryable, so that no call follows. */
  #throwIfDetaching(): void {
    if (this.#isDetaching) {
      throw new JobWorkerError("the client has detached", "CANCELLED");
    }
  }

  /** Stores a size of the job's terminal. After a break, the server repeats earlier ones. */
  #resized(size: TerminalResize): void {
    if (!this.#size || size.logOffset >= this.#size.logOffset) {
      this.#size = size;
    }
  }
}

function inputError(message: string): JobWorkerError {
  return new JobWorkerError(message, "FAILED_PRECONDITION");
}
