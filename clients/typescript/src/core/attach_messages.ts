/** The messages that an attachment sends. */
import { clone, create, type MessageInitShape } from "@bufbuild/protobuf";
import {
  type AttachStart,
  AttachStartSchema,
  TerminalSizeSchema,
} from "../gen/jobworker/v1/job_attach_pb.js";
import type { AttachJobRequestSchema, GetJobsStreamRequest } from "../gen/jobworker/v1/job_service_pb.js";

type Message = MessageInitShape<typeof AttachJobRequestSchema>;
export type TerminalSize = Omit<MessageInitShape<typeof TerminalSizeSchema>, "$typeName">;

// The size of a piece of the input that the server accepts.
const MAX_INPUT_BYTES = 64 * 1024;

// How many pieces the server takes before it has answered the first of them.
const MAX_UNANSWERED = 4;

/** A piece of the input without the bytes that the server has accepted, or the end of the input. */
interface Part {
  data: Uint8Array;
  readonly isEnd: boolean;
}

/** A write that the server has not accepted as a whole. */
interface Write {
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/** The progress of one call. */
interface Call {
  /** Whether the server has answered the start, which input must wait for. */
  isAnswered: boolean;
  /** How many of the parts were sent. */
  sent: number;
  /** How many sent parts the server has not answered. */
  unanswered: number;
}

/**
 * Sends the input, signals and sizes of one attachment over as many calls as needed. The server counts the bytes that it
 * has accepted of each input id, so that a call continues where the last one broke.
 */
export class AttachMessages {
  readonly #start: AttachStart;
  // Signals, sizes and the detach message that are not sent yet.
  readonly #controls: Message[] = [];
  // The parts that the server has not accepted, in order, and the write that they belong to.
  #parts: Part[] = [];
  #write: Write | undefined;
  // The position of the first part in the input.
  #offset = 0n;
  #call: Call | undefined;
  // Whether a size with `redraw` was sent since the last call started.
  #isRedrawing = false;
  #failure: Error | undefined;
  #wake = (): void => undefined;

  constructor(start: AttachStart) {
    this.#start = start;
  }

  /** Yields the messages of one call, until the next call or `close`. The call continues the output of `output`. */
  async *call(output: GetJobsStreamRequest): AsyncGenerator<Message, void, undefined> {
    const call = { isAnswered: false, sent: 0, unanswered: 0 };
    this.#call = call;
    this.#wake();
    yield { kind: { case: "start", value: this.#startAt(output) } };
    while (this.#call === call) {
      const control = this.#controls[0];
      if (control) {
        yield control;
        // The transport has sent a message when it asks for the next one.
        if (this.#controls[0] === control) {
          this.#controls.shift();
          this.#isRedrawing ||= control.kind?.case === "resize" && control.kind.value.redraw === true;
        }
      } else if (call.isAnswered && call.sent < this.#parts.length && call.unanswered < MAX_UNANSWERED) {
        call.sent += 1;
        call.unanswered += 1;
        yield this.#message(call.sent - 1);
      } else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    }
  }

  /** Sends input. Resolves when the server has accepted it. The last write must have been accepted. */
  async write(data: Uint8Array): Promise<void> {
    const parts: Part[] = [];
    for (let begin = 0; begin < data.length; begin += MAX_INPUT_BYTES) {
      parts.push({ data: data.subarray(begin, begin + MAX_INPUT_BYTES), isEnd: false });
    }
    if (parts.length > 0) {
      await this.#send(parts);
    }
  }

  /** Ends the input. Resolves when the server has accepted the end. */
  async end(): Promise<void> {
    await this.#send([{ data: new Uint8Array(), isEnd: true }]);
  }

  /** Sends a message as soon as there is a connection. */
  control(kind: NonNullable<Message["kind"]>): void {
    if (kind.case === "resize") {
      const { columns = 0, rows = 0 } = kind.value;
      this.#start.size = create(TerminalSizeSchema, { columns, rows });
    }
    this.#controls.push({ kind } as Message);
    this.#wake();
  }

  /** Processes an answer of the server: to the start, and then to each part. */
  accepted(offset: bigint): void {
    const call = this.#call;
    if (!call) {
      return;
    }
    call.unanswered -= Number(call.isAnswered);
    const repliesToEnd = call.isAnswered && call.unanswered === 0;
    call.sent = Math.max(0, call.sent - this.#remove(offset, repliesToEnd));
    call.isAnswered = true;
    // The stdin is taken over once: another client that takes it over later keeps it.
    this.#start.takeOver = false;
    this.#start.redraw = false;
    this.#wake();
  }

  /** Ends the open call. Input fails from now on. */
  close(failure: Error): void {
    this.#failure = failure;
    this.#call = undefined;
    this.#write?.reject(failure);
    this.#parts = [];
    this.#wake();
  }

  async #send(parts: Part[]): Promise<void> {
    if (this.#failure) {
      throw this.#failure;
    }
    await new Promise<void>((resolve, reject) => {
      this.#parts = parts;
      this.#write = { resolve, reject };
      this.#wake();
    });
  }

  /**
   * Removes the parts up to the offset that the server has accepted, and returns how many. The end is removed if the
   * answer is the reply to it.
   *
   * The answer to the start can accept bytes that an earlier call has sent. If the job has closed its stdin, it is 0.
   */
  #remove(offset: bigint, repliesToEnd: boolean): number {
    let removed = 0;
    for (const part of this.#parts) {
      const count = Math.min(Math.max(Number(offset - this.#offset), 0), part.data.length);
      this.#offset += BigInt(count);
      part.data = part.data.subarray(count);
      if (part.data.length > 0 || (part.isEnd && !repliesToEnd)) {
        break;
      }
      removed += 1;
    }
    this.#parts.splice(0, removed);
    if (removed > 0 && this.#parts.length === 0) {
      this.#write?.resolve();
    }
    return removed;
  }

  #startAt(output: GetJobsStreamRequest): AttachStart {
    // A size has no answer, so the next call repeats the redraw.
    this.#start.redraw ||= this.#isRedrawing;
    this.#isRedrawing = false;
    const start = clone(AttachStartSchema, this.#start);
    start.offset = output.offset;
    if (output.tailBytes === undefined) {
      delete start.tailBytes;
    }
    return start;
  }

  #message(index: number): Message {
    const { data, isEnd } = this.#parts[index] as Part;
    const earlier = this.#parts.slice(0, index).reduce((bytes, part) => bytes + part.data.length, 0);
    const offset = this.#offset + BigInt(earlier);
    return { kind: isEnd ? { case: "eof", value: { offset } } : { case: "input", value: { offset, data } } };
  }
}
