/** The messages that an attachment sends. */
import { clone, create, type MessageInitShape } from "@bufbuild/protobuf";
import { type AttachStart, AttachStartSchema, TerminalSizeSchema } from "./gen/jobworker/v1/job_attach_pb.js";
import type { AttachJobRequestSchema, GetJobsStreamRequest } from "./gen/jobworker/v1/job_service_pb.js";

type Message = MessageInitShape<typeof AttachJobRequestSchema>;
export type TerminalSize = Omit<MessageInitShape<typeof TerminalSizeSchema>, "$typeName">;

/** A piece of the input or its end, until the server has accepted it. */
interface Part {
  data: Uint8Array;
  readonly isEnd: boolean;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/** The progress of one call. */
interface Call {
  /** Whether the server has said how much of the input it has. */
  answered: boolean;
  /** Whether the part was sent and not answered. */
  isWaiting: boolean;
}

/**
 * Sends the input, signals and sizes of one attachment over as many calls as needed. The server counts the bytes that it
 * has accepted of each input id, so that a call continues where the last one broke. One part is sent at a time.
 */
export class AttachMessages {
  readonly #start: AttachStart;
  // Signals, sizes and the detach message that are not sent yet.
  readonly #controls: Message[] = [];
  #part: Part | undefined;
  // The position of the part in the input.
  #offset = 0n;
  #call: Call | undefined;
  #failure: Error | undefined;
  #wake = (): void => undefined;

  constructor(start: AttachStart) {
    this.#start = start;
  }

  /** Yields the messages of one call, until the next call or `close`. The call continues the output of `output`. */
  async *call(output: GetJobsStreamRequest): AsyncGenerator<Message, void, undefined> {
    const call = { answered: false, isWaiting: false };
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
        }
      } else if (this.#part && call.answered && !call.isWaiting) {
        call.isWaiting = true;
        yield this.#message(this.#part);
      } else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    }
  }

  /** Sends a part of the input. Resolves when the server has accepted it. The last part must have been accepted. */
  async feed(data: Uint8Array, isEnd: boolean): Promise<void> {
    if (this.#failure) {
      throw this.#failure;
    }
    await new Promise<void>((resolve, reject) => {
      this.#part = { data, isEnd, resolve, reject };
      this.#wake();
    });
  }

  /** Sends a message as soon as there is a connection. */
  control(kind: NonNullable<Message["kind"]>): void {
    if (kind.case === "resize") {
      this.#start.size = create(TerminalSizeSchema, kind.value);
    }
    this.#controls.push({ kind } as Message);
    this.#wake();
  }

  /**
   * Processes an answer of the server. The first answer of a call is not a reply to a part, but can accept bytes of it
   * that an earlier call has sent. If the job has closed its stdin, this answer is 0.
   */
  accepted(offset: bigint): void {
    const [call, part] = [this.#call, this.#part];
    if (!call) {
      return;
    }
    const isReply = call.isWaiting;
    call.answered = true;
    call.isWaiting = false;
    // The stdin is taken over once: another client that takes it over later keeps it.
    this.#start.takeOver = false;
    this.#start.redraw = false;
    if (part) {
      const count = Math.min(Math.max(Number(offset - this.#offset), 0), part.data.length);
      this.#offset += BigInt(count);
      part.data = part.data.subarray(count);
      if (part.data.length === 0 && (isReply || !part.isEnd)) {
        this.#part = undefined;
        part.resolve();
      }
    }
    this.#wake();
  }

  /** Ends the open call. Input fails from now on. */
  close(failure: Error): void {
    this.#failure = failure;
    this.#call = undefined;
    this.#part?.reject(failure);
    this.#part = undefined;
    this.#wake();
  }

  #startAt(output: GetJobsStreamRequest): AttachStart {
    const start = clone(AttachStartSchema, this.#start);
    start.offset = output.offset;
    if (output.tailBytes === undefined) {
      delete start.tailBytes;
    }
    return start;
  }

  #message({ data, isEnd }: Part): Message {
    const offset = this.#offset;
    return { kind: isEnd ? { case: "eof", value: { offset } } : { case: "input", value: { offset, data } } };
  }
}
